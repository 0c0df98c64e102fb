//! What was found out before, on disk. An entry is a file that is named by the hash of everything that its content depends on. It
//! carries that name and a hash of itself: one that is damaged, or was put there under another name, is no entry.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The first words of each entry; the number grows when its form changes.
const FORM: &str = "grv-cache 1";

/// Where entries are kept.
#[derive(Debug, Default)]
pub struct Cache {
    folder: Option<PathBuf>,
    /// Nothing may be found out anew.
    frozen: bool,
    remarks: Mutex<BTreeSet<String>>,
}

/// The name of an entry: a hash of all that it depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The key of some parts; where one ends and the next begins counts.
    pub fn new(parts: &[&[u8]]) -> Key {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Key(hasher.finalize().to_hex().to_string())
    }
}

impl Cache {
    /// No cache.
    pub fn off() -> Cache {
        Cache::default()
    }

    /// A cache in a folder, which is made when it is needed. A frozen one is only read.
    pub fn at(folder: PathBuf, frozen: bool) -> Cache {
        Cache { folder: Some(folder), frozen, remarks: Mutex::default() }
    }

    /// Whether nothing may be found out anew.
    pub fn frozen(&self) -> bool {
        self.frozen
    }

    /// An entry, if there is one that is whole.
    pub fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        let path = self.path(key)?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.remark(&path, &error.to_string());
                return None;
            }
        };
        let value = content(&text, key).and_then(|body| serde_json::from_str(body).ok());
        if value.is_none() {
            self.remark(&path, "this entry is damaged, or none of ours; it is not used");
        }
        value
    }

    /// Keeps an entry: written beside its place, then renamed, so that nobody sees half of it.
    pub fn put(&self, key: &Key, value: &impl Serialize) {
        if self.frozen {
            return;
        }
        let Some(path) = self.path(key) else { return };
        let written = serde_json::to_string(value).map_err(io::Error::from).and_then(|body| {
            let text = format!("{FORM} {}\n{body}\n", key.0);
            write(&path, &format!("{text}{}\n", blake3::hash(text.as_bytes()).to_hex()))
        });
        if let Err(error) = written {
            self.remark(&path, &format!("nothing is kept: {error}"));
        }
    }

    /// What is wrong with the cache, for people. None of it changes a verdict.
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn remark(&self, path: &Path, what: &str) {
        let remark = format!("{}: {what}", path.display());
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).insert(remark);
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        let (folder, name) = key.0.split_at(2);
        Some(self.folder.as_ref()?.join(folder).join(name))
    }
}

/// What an entry holds, if it is whole and this key's.
fn content<'t>(text: &'t [u8], key: &Key) -> Option<&'t str> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let (rest, hash) = text.split_at(text.rfind('\n')? + 1);
    let own = blake3::hash(rest.as_bytes()).to_hex();
    let body = rest.strip_prefix(FORM)?.strip_prefix(' ')?.strip_prefix(key.0.as_str())?.strip_prefix('\n')?;
    (hash == own.as_str()).then_some(body)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let own = format!("new-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let beside = path.with_extension(own);
    let done =
        fs::File::create(&beside).and_then(|mut file| file.write_all(text.as_bytes())).and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        // It is of no use; what went wrong is told.
        let _removed = fs::remove_file(&beside);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("grv-cache-{name}-{}", std::process::id()));
        let _absent = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn the_ends_of_parts_count() {
        assert_ne!(Key::new(&[b"ab", b"c"]), Key::new(&[b"a", b"bc"]));
        assert_ne!(Key::new(&[b"ab"]), Key::new(&[b"ab", b""]));
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_damaged() {
        let cache = Cache::at(folder("damage"), false);
        let (one, other) = (Key::new(&[b"one"]), Key::new(&[b"other"]));
        assert_eq!(cache.get::<u32>(&one), None);
        cache.put(&one, &7);
        assert_eq!(cache.get::<u32>(&one), Some(7));
        assert!(cache.remarks().is_empty());
        let (path, foreign) = (cache.path(&one).unwrap(), cache.path(&other).unwrap());
        let whole = fs::read(&path).unwrap();
        // Each byte counts.
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(cache.get::<u32>(&one), None, "byte {at}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(cache.get::<u32>(&one), None);
        fs::create_dir_all(foreign.parent().unwrap()).unwrap();
        fs::write(&foreign, &whole).unwrap();
        assert_eq!(cache.get::<u32>(&other), None);
        assert_eq!(cache.remarks().len(), 2);
    }

    #[test]
    fn a_frozen_cache_and_none_keep_nothing() {
        let folder = folder("frozen");
        let key = Key::new(&[b"key"]);
        let frozen = Cache::at(folder.clone(), true);
        frozen.put(&key, &7);
        assert_eq!(frozen.get::<u32>(&key), None);
        assert!(!folder.exists());
        Cache::off().put(&key, &7);
        assert_eq!(Cache::off().get::<u32>(&key), None);
    }
}
