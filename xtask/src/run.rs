//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A result whose error is told to the developer.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder of build results.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command in the root of the workspace.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Runs a command; anything but success is an error.
pub(crate) fn run(program: &str, args: &[&str]) -> Result {
    run_command(program, &mut command(program, args))
}

/// The same, for a command that was prepared.
pub(crate) fn run_command(program: &str, command: &mut Command) -> Result {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{program}` failed ({status})")),
        Err(error) => Err(format!("`{program}` cannot be run: {error}")),
    }
}

/// Whether a command can be run and succeeds; its output is not shown.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    command(program, args).output().is_ok_and(|output| output.status.success())
}

/// Cargo, as this was started by.
pub(crate) fn cargo(args: &[&str]) -> Result {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    run(&program, args)
}

/// Builds the command in release mode and gives its path.
pub(crate) fn grv() -> Result<String> {
    cargo(&["build", "--quiet", "--release", "--package", "grv"])?;
    Ok(target().join("release/grv").display().to_string())
}

/// An error with the file that it is about.
pub(crate) fn at(path: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}
