//! Does in memory what a plan of repair says. Public interface only: the fuzzer takes this file in by path; it says with
//! `super::` where the log is to be found.

use super::{File, Part, Plan};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

type Files = BTreeMap<File, Vec<u8>>;

/// Does what a plan says. Returns what was moved aside.
pub(super) fn carry_out(files: &mut Files, plan: &Plan) -> Files {
    let mut new = Files::new();
    for file in &plan.new {
        let mut data = Vec::new();
        for part in &file.parts {
            match part {
                Part::Bytes(bytes) => data.extend_from_slice(bytes),
                Part::Copy { file, bytes } => {
                    let bytes = bytes.start as usize..bytes.end as usize;
                    data.extend_from_slice(&files[file][bytes]);
                }
            }
        }
        assert!(new.insert(file.file, data).is_none(), "{}", file.file);
    }
    let mut aside = Files::new();
    for file in &plan.aside {
        let data = files.remove(file).expect("it is moved once");
        aside.insert(*file, data);
    }
    for (file, data) in new {
        assert!(files.insert(file, data).is_none(), "{file} is overwritten");
    }
    aside
}
