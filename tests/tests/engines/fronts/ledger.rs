//! What was consumed, and how often.

use message_queue_tests::process::PATIENCE;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A message that a consumer has written.
pub(super) struct Given {
    pub(super) text: String,
    /// How often it was handed out, this time included.
    pub(super) attempt: u64,
}

/// A message that came more than once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) text: String,
    /// Which attempts it were, in the order in which they came.
    pub(super) attempts: Vec<u64>,
}

/// All that consumers write.
pub(super) struct Ledger {
    tell: Sender<Given>,
    told: Receiver<Given>,
    /// The attempts at each message, in the order in which they came.
    attempts: BTreeMap<String, Vec<u64>>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let (tell, told) = channel();
        Self {
            tell,
            told,
            attempts: BTreeMap::new(),
        }
    }

    /// For who writes to it.
    pub(super) fn writer(&self) -> Sender<Given> {
        self.tell.clone()
    }

    fn take_one(&mut self) {
        let Given { text, attempt } = self.told.recv_timeout(PATIENCE).expect("a message");
        self.attempts.entry(text).or_default().push(attempt);
    }

    /// Waits for so many messages.
    pub(super) fn take(&mut self, count: usize) {
        for _ in 0..count {
            self.take_one();
        }
    }

    /// Waits until all of these have come.
    pub(super) fn take_all(&mut self, confirmed: &BTreeSet<String>) {
        for text in confirmed {
            while !self.attempts.contains_key(text) {
                self.take_one();
            }
        }
    }

    /// Takes what has come already.
    pub(super) fn take_rest(&mut self) {
        while let Ok(Given { text, attempt }) = self.told.try_recv() {
            self.attempts.entry(text).or_default().push(attempt);
        }
    }

    /// What came more than once of messages that begin so.
    pub(super) fn repeated(&self, begin: &str) -> Vec<Repeated> {
        let repeated = self.attempts.iter();
        let repeated = repeated.filter(|(text, all)| text.starts_with(begin) && all.len() > 1);
        let repeated = repeated.map(|(text, all)| Repeated {
            text: text.clone(),
            attempts: all.clone(),
        });
        repeated.collect()
    }
}
