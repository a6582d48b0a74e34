//! Journals that are damaged or missing.

use super::{Bodies, EPOCH, Files, Host, damage, filled, journal, repaired, segments};
use crate::log::tests::File;
use crate::log::{DamageKind, Groups};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

#[test]
fn a_journal_that_is_lost_or_of_another_topic_is_made_anew_without_groups() {
    let (files, bodies) = filled();
    let journal = journal(&files);
    let mut missing = files.clone();
    missing.remove(&journal);
    let mut empty = files.clone();
    empty.insert(journal, Vec::new());
    let mut zeros = files.clone();
    zeros.get_mut(&journal).expect("there").fill(0);
    let mut other = files.clone();
    let text = other.get_mut(&journal).expect("there");
    let mut elsewhere = Vec::new();
    {
        let mut host = Host::open(EPOCH, Files::new());
        host.append(1, &mut Bodies::new());
        let log = crate::log::journal::Journal::new("other", EPOCH);
        let bounds = crate::log::journal::Bounds { begin: 1, tail: 1 };
        for piece in log.made_anew(1, EPOCH, bounds) {
            elsewhere.extend_from_slice(&piece);
        }
    }
    *text = elsewhere;
    for (files, kind) in [
        (missing, DamageKind::NoJournal),
        (empty, DamageKind::NotARecord),
        (zeros, DamageKind::NotARecord),
        (other, DamageKind::Misplaced),
    ] {
        assert_eq!(damage(&files)[0].kind, kind);
        let (plan, recovered) = repaired(&files, &bodies);
        assert_eq!((plan.groups, plan.lost), (Groups::Lost, Vec::new()));
        assert_eq!(recovered.groups, []);
        assert_eq!(
            (recovered.epoch, recovered.first, recovered.next),
            (EPOCH, 1, 81)
        );
        assert_eq!(recovered.producers.len(), 3);
    }
}

#[test]
fn without_a_journal_nothing_says_what_came_before() {
    let (mut files, bodies) = filled();
    files.remove(&journal(&files));
    let (plan, _) = repaired(&files, &bodies);
    assert_eq!(plan.begin, None);
    let firsts = segments(&files);
    files.remove(&File::Segment(firsts[0]));
    let (plan, recovered) = repaired(&files, &bodies);
    assert_eq!((plan.begin, plan.lost), (Some(firsts[1]), Vec::new()));
    assert_eq!(recovered.first, firsts[1]);
}

/// Every byte of the journal, changed one at a time.
#[test]
fn a_journal_that_is_damaged_keeps_what_it_still_says() {
    let (files, bodies) = filled();
    let journal = journal(&files);
    let mut known = BTreeMap::new();
    for at in 0..files[&journal].len() {
        let mut files = files.clone();
        files.get_mut(&journal).expect("there")[at] ^= 0x55;
        let found = damage(&files);
        if found.is_empty() {
            // Only the last record can be taken for torn.
            assert!(at + 200 > files[&journal].len());
            continue;
        }
        assert_eq!(found.len(), 1, "{at}: {found:?}");
        assert_eq!(found[0].file, journal);
        let (plan, recovered) = repaired(&files, &bodies);
        assert_eq!((plan.groups, plan.lost), (Groups::Uncertain, Vec::new()));
        assert_eq!(recovered.groups.len(), 1, "{at}");
        let settled = recovered.groups[0].1.settled_up_to;
        *known.entry(settled).or_insert(0) += 1;
        assert_eq!(recovered.next, 81);
    }
    assert!(known[&79] > 1000, "{known:?}");
}
