//! What is looked at, and where answers are kept.

use grv_lang::ir::Property;
use grv_lang::source::SourceMap;
use grv_lang::span::Span;
use grv_verifier::cache::Cache;
use std::path::{Path, PathBuf};

/// Which obligations are looked at.
pub(crate) struct Selection {
    globs: Vec<String>,
    at: Option<(String, u32)>,
}

impl Selection {
    pub(crate) fn new(globs: &[String], at: Option<&str>) -> Result<Selection, String> {
        let at = match at {
            None => None,
            Some(text) => {
                let place = text.rsplit_once(':').and_then(|(file, line)| Some((file.to_string(), line.parse().ok()?)));
                Some(place.ok_or_else(|| format!("--at {text}: a file and a line are needed, as in nat.grv:12"))?)
            }
        };
        Ok(Selection { globs: globs.to_vec(), at })
    }

    /// Whether everything is looked at.
    pub(crate) fn whole(&self) -> bool {
        self.globs.is_empty() && self.at.is_none()
    }

    /// Whether that may be something that every program is obliged to: it has no name to be chosen by.
    pub(crate) fn automatic(&self) -> bool {
        self.globs.is_empty()
    }

    /// Whether an obligation is looked at: a property, or else what every program is obliged to.
    pub(crate) fn wanted<'s>(&'s self, sources: &'s SourceMap) -> impl Fn(Option<&Property>, Span) -> bool + Sync + 's {
        move |property, span| {
            let named = match property {
                Some(property) => self.globs.is_empty() || self.globs.iter().any(|glob| matches(glob, &property.name)),
                None => self.automatic(),
            };
            named && self.at.as_ref().is_none_or(|(file, line)| is_at(sources, span, Path::new(file), *line))
        }
    }

    /// Why there is nothing to look at.
    pub(crate) fn nothing(&self) -> String {
        match (&self.at, self.globs.is_empty()) {
            (Some((file, line)), _) => format!("nothing is to be proved at {file}:{line}"),
            (None, false) => format!("there is no property named {}", self.globs.join(" or ")),
            (None, true) => "there is nothing to be proved: no middlebox, or one that promises nothing".to_string(),
        }
    }
}

fn is_at(sources: &SourceMap, span: Span, file: &Path, line: u32) -> bool {
    let own = Path::new(&sources.file(span.file).path);
    let same = own == file || own.ends_with(file) || std::path::absolute(own).ok() == std::path::absolute(file).ok();
    same && (sources.start(span).line..=sources.end(span).line).contains(&line)
}

/// Whether a name fits: the whole, or its base, without the numbers of parts and ports behind it.
pub(crate) fn matches(glob: &str, name: &str) -> bool {
    let base = name.split(['[', '/']).next().unwrap_or(name);
    // Also without the spec that it comes from.
    let own = base.rsplit(['.', ':']).next().unwrap_or(base);
    [name, base, own].iter().any(|name| fits(glob.as_bytes(), name.as_bytes()))
}

/// `*` stands for any characters, `?` for one. In time proportional to the product of both lengths.
fn fits(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    // Where to go on if it does not fit: behind the last star, which then stands for one character more.
    let mut retry = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                retry = Some((g + 1, t));
                g += 1;
            }
            Some(b'?') => (g, t) = (g + 1, t + 1),
            Some(c) if *c == text[t] => (g, t) = (g + 1, t + 1),
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (g, t) = (star, from + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

/// The cache that is asked for.
pub(crate) fn cache(choice: Option<&str>) -> Result<Cache, String> {
    match choice {
        Some("off") => Ok(Cache::off()),
        Some("frozen") => Ok(Cache::at(usual()?, true)),
        Some(folder) => Ok(Cache::at(folder.into(), false)),
        None => Ok(usual().map_or_else(|_| Cache::off(), |folder| Cache::at(folder, false))),
    }
}

/// Where answers are kept unless it is said.
fn usual() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("GRV_CACHE") {
        return Ok(folder.into());
    }
    if Path::new("target").is_dir() {
        return Ok(Path::new("target").join("grv-cache"));
    }
    let home = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    home.map(|home| home.join("grv")).ok_or_else(|| "there is no folder for the cache: point GRV_CACHE at one".to_string())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_fit_names_and_bases_of_names() {
        for (glob, name) in [
            ("inverse", "inverse"),
            ("inverse", "inverse/2[1]"),
            ("inverse", "inverse[0]"),
            ("inverse/2*", "inverse/2[1]"),
            ("in*e", "inverse"),
            ("*", "anything"),
            ("?nverse", "inverse"),
            ("*a*b*", "xxaxxabxx"),
            ("never_back[0]", "never_back[0]"),
        ] {
            assert!(matches(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("inv", "inverse"), ("verse", "inverse"), ("?", "ab"), ("a*c", "abd"), ("", "a"), ("x[0]", "x[1]")] {
            assert!(!matches(glob, name), "{glob} {name}");
        }
    }
}
