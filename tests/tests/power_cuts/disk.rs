//! What a power cut leaves of a folder, worked out from what the shim has told.
//!
//! What was written to a file is safe when a sync of the file that began later has ended; what became of names in a
//! folder, when such a sync of the folder has. Of everything else any part may be there: of a write any sectors, and of
//! the names any changes.

use message_queue_tests::random::SplitMix64;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// A file or a folder, by a number of our own: the system uses inodes again.
type Id = usize;

/// A folder, and all that was done to it.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// What an inode is now.
    inodes: HashMap<u64, Id>,
    /// The syncs that have begun and not ended, by their numbers: of what, and what was done to it before.
    syncs: HashMap<u64, (Id, usize)>,
}

#[derive(Debug)]
enum Node {
    File(Kept<Vec<u8>, FileChange>),
    Folder(Kept<BTreeMap<String, Id>, NameChange>),
}

/// What is safe, and what was done since.
#[derive(Debug)]
struct Kept<S, C> {
    safe: S,
    later: Vec<C>,
    /// How many changes have become safe.
    before: usize,
}

#[derive(Debug)]
enum FileChange {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(String, Id),
    Remove(String),
    Move(String, String, Id),
}

/// How much of what is not safe a cut leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaves {
    /// Nothing.
    Nothing,
    /// All of it, as when the process alone ends.
    Everything,
    /// The first of the changes.
    TheFirst,
    /// Any of the changes, and any sectors of what was written.
    Any,
}

impl Leaves {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Everything, Self::TheFirst, Self::Any];
}

impl Disk {
    /// A folder as it is, all of it safe.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            inodes: HashMap::new(),
            syncs: HashMap::new(),
        };
        disk.take_in(root);
        disk
    }

    fn take_in(&mut self, path: &Path) -> Id {
        let id = self.nodes.len();
        self.nodes.push(Node::File(Kept::new(Vec::new())));
        let about = fs::metadata(path).expect("it is there");
        self.inodes.insert(about.ino(), id);
        self.nodes[id] = if about.is_dir() {
            let mut names = BTreeMap::new();
            for entry in fs::read_dir(path).expect("a folder") {
                let path = entry.expect("an entry").path();
                names.insert(last(&path), self.take_in(&path));
            }
            Node::Folder(Kept::new(names))
        } else {
            Node::File(Kept::new(fs::read(path).expect("a file")))
        };
        id
    }

    /// Takes note of what the shim has told. A record that is not whole was never told.
    pub(crate) fn follow(&mut self, mut journal: &[u8]) {
        // Those of a life before never ended.
        self.syncs.clear();
        while let Some((head, rest)) = journal.split_at_checked(25) {
            let number = |at: usize| {
                let bytes = head[at..at + 8].try_into().expect("8 bytes");
                u64::from_ne_bytes(bytes)
            };
            let (a, b) = (number(1), number(9));
            let length = usize::try_from(number(17)).expect("it fits into memory");
            let Some((content, rest)) = rest.split_at_checked(length) else {
                return;
            };
            self.apply(head[0], a, b, content);
            journal = rest;
        }
    }

    fn apply(&mut self, kind: u8, a: u64, b: u64, content: &[u8]) {
        let as_size = |number: u64| usize::try_from(number).expect("a small file");
        match kind {
            b'W' => self.file(a).push(FileChange::Write {
                offset: as_size(b),
                bytes: content.to_vec(),
            }),
            b'T' => self.file(a).push(FileChange::Resize(as_size(b))),
            b'B' => {
                let id = self.inodes[&b];
                let done = match &self.nodes[id] {
                    Node::File(file) => file.before + file.later.len(),
                    Node::Folder(folder) => folder.before + folder.later.len(),
                };
                self.syncs.insert(a, (id, done));
            }
            b'E' => {
                let (id, done) = self.syncs.remove(&a).expect("it has begun");
                match &mut self.nodes[id] {
                    Node::File(file) => {
                        for change in file.take_up_to(done) {
                            change.apply(&mut file.safe);
                        }
                    }
                    Node::Folder(folder) => {
                        for change in folder.take_up_to(done) {
                            change.apply(&mut folder.safe);
                        }
                    }
                }
            }
            b'C' => self.comes(a, text(content), Node::File(Kept::new(Vec::new()))),
            b'M' => self.comes(a, text(content), Node::Folder(Kept::new(BTreeMap::new()))),
            b'R' => {
                let (from, to) = text(content).split_once('\0').expect("two paths");
                let (from, to) = (Path::new(from), Path::new(to));
                assert_eq!(from.parent(), to.parent(), "within a folder");
                let id = self.find(from);
                let change = NameChange::Move(last(from), last(to), id);
                self.folder_of(from).push(change);
            }
            b'U' => {
                let path = Path::new(text(content));
                self.folder_of(path).push(NameChange::Remove(last(path)));
            }
            kind => panic!("the shim tells of {kind}"),
        }
    }

    fn comes(&mut self, inode: u64, path: &str, node: Node) {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.inodes.insert(inode, id);
        let path = Path::new(path);
        if path != self.root {
            self.folder_of(path).push(NameChange::Put(last(path), id));
        }
    }

    fn file(&mut self, inode: u64) -> &mut Vec<FileChange> {
        match &mut self.nodes[self.inodes[&inode]] {
            Node::File(file) => &mut file.later,
            Node::Folder(_) => panic!("a folder is written to"),
        }
    }

    fn folder_of(&mut self, path: &Path) -> &mut Vec<NameChange> {
        let id = self.find(path.parent().expect("it lies below the root"));
        match &mut self.nodes[id] {
            Node::Folder(folder) => &mut folder.later,
            Node::File(_) => panic!("{path:?} lies in a file"),
        }
    }

    /// What is at this path now, safe or not.
    fn find(&self, path: &Path) -> Id {
        let below = path.strip_prefix(&self.root).expect("below the root");
        below.iter().fold(0, |id, name| {
            let Node::Folder(folder) = &self.nodes[id] else {
                panic!("{path:?} lies in a file");
            };
            let mut names = folder.safe.clone();
            for change in &folder.later {
                change.apply(&mut names);
            }
            names[name.to_str().expect("UTF-8")]
        })
    }

    /// Makes the folder anew as a power cut may leave it; all of that is safe then.
    pub(crate) fn cut(&mut self, leaves: Leaves, random: &mut SplitMix64) {
        self.make_anew(leaves, random);
        *self = Self::of(&self.root);
    }

    /// The process alone is dead: all that it did is there, and is no safer than before.
    pub(crate) fn lives_on(&mut self) {
        // What it was about to do when it died has been told, and is done now.
        self.inodes = self.make_anew(Leaves::Everything, &mut SplitMix64::new(0));
    }

    fn make_anew(&self, leaves: Leaves, random: &mut SplitMix64) -> HashMap<u64, Id> {
        fs::remove_dir_all(&self.root).expect("it can be removed");
        let mut made = HashMap::new();
        self.make(0, &self.root, leaves, random, &mut made);
        made
    }

    fn make(
        &self,
        id: Id,
        path: &Path,
        leaves: Leaves,
        random: &mut SplitMix64,
        made: &mut HashMap<u64, Id>,
    ) {
        match &self.nodes[id] {
            Node::Folder(folder) => {
                fs::create_dir(path).expect("it can be made");
                let mut names = folder.safe.clone();
                let first = random.below(folder.later.len() + 1);
                for (number, change) in folder.later.iter().enumerate() {
                    if leaves.keeps(number, first, random) {
                        change.apply(&mut names);
                    }
                }
                for (name, id) in names {
                    self.make(id, &path.join(name), leaves, random, made);
                }
            }
            Node::File(file) => {
                let mut content = file.safe.clone();
                let first = random.below(file.later.len() + 1);
                for (number, change) in file.later.iter().enumerate() {
                    match (leaves, change) {
                        (Leaves::Any, FileChange::Write { offset, bytes }) => {
                            for (at, sector) in sectors(*offset, bytes) {
                                if random.one_in(2) {
                                    write(&mut content, at, sector);
                                }
                            }
                        }
                        _ if leaves.keeps(number, first, random) => change.apply(&mut content),
                        _ => {}
                    }
                }
                fs::write(path, content).expect("it can be written");
            }
        }
        made.insert(fs::metadata(path).expect("it was made").ino(), id);
    }
}

impl Leaves {
    /// Whether change `number` is there, where those before `first` are if that is how much is left.
    fn keeps(self, number: usize, first: usize, random: &mut SplitMix64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::TheFirst => number < first,
            Self::Any => random.one_in(2),
        }
    }
}

impl<S, C> Kept<S, C> {
    const fn new(safe: S) -> Self {
        Self {
            safe,
            later: Vec::new(),
            before: 0,
        }
    }

    /// The changes up to the one of this number, which are safe now.
    fn take_up_to(&mut self, done: usize) -> Vec<C> {
        let count = done.saturating_sub(self.before);
        self.before += count;
        self.later.drain(..count).collect()
    }
}

impl FileChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(content, *offset, bytes),
            Self::Resize(size) => content.resize(*size, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Id>) {
        match self {
            Self::Put(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Move(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// The parts of what is written there that lie in one sector each.
fn sectors(offset: usize, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut parts = Vec::new();
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let size = rest.len().min(SECTOR - at % SECTOR);
        let (part, more) = rest.split_at(size);
        parts.push((at, part));
        (at, rest) = (at + size, more);
    }
    parts
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn last(path: &Path) -> String {
    let name = path.file_name().expect("a name");
    name.to_str().expect("UTF-8").to_owned()
}
