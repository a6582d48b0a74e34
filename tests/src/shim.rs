//! Shared objects that are loaded into the broker, to come between it and the system.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds one from C into a folder, by the compiler that the broker's own dependencies need, too. `source` is relative
/// to the package of the tests.
///
/// # Panics
/// If it does not build without a warning.
pub fn build(source: &str, folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let shim = folder.join("shim.so");
    let mut cc = Command::new("cc");
    cc.args([
        "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
    ]);
    let built = cc.arg(&shim).arg(source).arg("-ldl").status();
    assert!(built.expect("cc runs").success(), "the shim does not build");
    shim
}
