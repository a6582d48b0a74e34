//! What stands at the end of a log, or was on its way there, or away.

use super::{
    Bodies, EPOCH, Files, Host, damage, filled, inspect, kinds, lost, records, repaired, segments,
};
use crate::log::tests::Stop;
use crate::log::tests::{File, Progress, ReadFrom};
use crate::log::{DamageKind, Note};
use crate::wire::FrameBatch;
use crate::wire::control::Range;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

#[test]
fn a_torn_end_and_what_was_being_made_are_no_damage() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let last = File::Segment(firsts[firsts.len() - 1]);
    let end = records(&files, firsts[firsts.len() - 1])
        .last()
        .expect("there are some")
        .0
        .end;
    let mut torn = files.clone();
    let data = torn.get_mut(&last).expect("there");
    data.truncate(end);
    data.extend([b'?'; 30]);
    let mut unfinished = files.clone();
    unfinished.insert(File::Segment(81), vec![0; 500]);
    let new = File::NewJournal(9);
    unfinished.insert(new, vec![1; 10]);
    let mut old = files.clone();
    old.insert(File::Index(7), Vec::new());
    let index = File::Index(firsts[1]);
    assert!(old.contains_key(&index));
    old.get_mut(&index).expect("there")[20] ^= 1;
    for (files, notes) in [
        (
            torn,
            vec![Note::Torn {
                file: last,
                offset: end as u64,
                bytes: 30,
            }],
        ),
        (
            unfinished,
            vec![Note::Unfinished(new), Note::Unfinished(File::Segment(81))],
        ),
        (
            old,
            vec![Note::Leftover(File::Index(7)), Note::BadIndex(index)],
        ),
    ] {
        let (inspection, _) = inspect(&files, ReadFrom::First);
        assert_eq!(
            (inspection.damage(), inspection.notes()),
            (&[][..], &notes[..])
        );
        let (plan, _) = repaired(&files, &bodies);
        assert!(plan.is_empty());
    }
    let deleted = Files::from([(File::Deleted(3), Vec::new()), (last, files[&last].clone())]);
    let (inspection, _) = inspect(&deleted, ReadFrom::First);
    assert_eq!(inspection.notes(), [Note::Deleted(File::Deleted(3))]);
    assert_eq!(inspection.damage(), []);
}

#[test]
fn a_message_that_holds_records_is_not_taken_for_them() {
    let mut host = Host::open(EPOCH, Files::new());
    let mut bodies = Bodies::new();
    host.append(1, &mut bodies);
    // A copy of the log itself is published.
    let copy = Bytes::from(host.disk.files()[&File::Segment(1)][..600].to_vec());
    let batch = FrameBatch::encode([&copy]).expect("small");
    let first = host
        .log
        .append(&batch, 1002, Vec::new())
        .expect("open")
        .first;
    bodies.insert(first, copy);
    host.run();
    for number in 2..=4 {
        host.append(number, &mut bodies);
    }
    let files = host.disk.files();
    let segment = File::Segment(1);
    let (bytes, range) = records(&files, 1)[1].clone();
    assert_eq!(range, Range { from: 3, to: 3 });
    for at in [bytes.start, bytes.start + 11, bytes.start + 40] {
        let mut files = files.clone();
        files.get_mut(&segment).expect("there")[at] ^= 0x10;
        let (plan, _) = repaired(&files, &bodies);
        assert_eq!(lost(&plan), [(3, 3)], "{at}");
    }
}

/// Records that were written together all call only what came before them safe. A group has had messages of them.
#[test]
fn records_behind_damage_are_kept_if_only_a_group_knows_that_they_were_safe() {
    let mut host = Host::open(EPOCH, Files::new());
    let mut bodies = Bodies::new();
    host.append(1, &mut bodies);
    for number in 2..=5_u8 {
        let body = Bytes::from(vec![number; 50]);
        let batch = FrameBatch::encode([&body]).expect("small");
        let appending = host.log.append(&batch, 1002, Vec::new());
        bodies.insert(appending.expect("it is open").first, body);
    }
    host.run();
    let progress = Progress {
        settled_up_to: 4,
        ..Progress::default()
    };
    host.log.save_group("g", &progress).expect("it is open");
    host.run();
    let mut files = host.disk.files();
    let (bytes, range) = records(&files, 1)[1].clone();
    assert_eq!(range, Range { from: 3, to: 3 });
    let data = files.get_mut(&File::Segment(1)).expect("there");
    data[bytes.end - 1] ^= 1;
    // Opening it stops, and cuts nothing off.
    let stopped = Host::open(EPOCH, files.clone());
    let Some(Stop::Damaged(found)) = &stopped.stopped else {
        panic!("{:?}", stopped.stopped);
    };
    assert_eq!(found.kind, DamageKind::EndsBefore(4));
    assert_eq!(stopped.disk.files(), files);
    assert_eq!(kinds(&files), [(File::Segment(1), DamageKind::NotARecord)]);
    let (plan, recovered) = repaired(&files, &bodies);
    assert_eq!((lost(&plan), recovered.next), (vec![(3, 3)], 7));
    assert!(!plan.is_end_unknown);
}

/// Found by fuzzing: what is no segment was left in the place of one.
#[test]
fn what_is_in_the_place_of_the_next_segment_is_moved_aside() {
    let (files, bodies) = filled();
    let (bytes, _) = records(&files, 1)[0].clone();
    let stray = files[&File::Segment(1)][bytes].to_vec();
    let mut with = files.clone();
    with.insert(File::Segment(81), stray.clone());
    assert_eq!(damage(&with)[0].kind, DamageKind::Misplaced);
    let (plan, recovered) = repaired(&with, &bodies);
    assert_eq!(plan.aside, [File::Segment(81)]);
    assert_eq!((plan.lost.len(), recovered.next), (0, 81));
    // Whatever it is, there was something before it.
    let mut later = files;
    later.insert(File::Segment(85), stray);
    let (plan, recovered) = repaired(&later, &bodies);
    assert_eq!((lost(&plan), recovered.next), (vec![(81, 84)], 85));
}

/// Found by fuzzing: a segment that was to be deleted came back.
#[test]
fn what_was_to_be_deleted_does_not_come_back() {
    let (files, bodies) = filled();
    let mut host = Host::open(EPOCH, files.clone());
    let retention = crate::log::Retention {
        settled_up_to: 80,
        ..crate::log::Retention::default()
    };
    host.log.trim(&retention).expect("it is open");
    host.run();
    let mut after = host.disk.files();
    let last = segments(&after)[0];
    assert_eq!(segments(&after).len(), 1);
    // It had not been deleted yet, and the last one is gone.
    after.insert(File::Segment(1), files[&File::Segment(1)].clone());
    after.remove(&File::Segment(last));
    let (_, recovered) = repaired(&after, &bodies);
    assert_eq!((recovered.first, recovered.next), (last, 80));
    // Nor is it taken in where only a stray file follows.
    let stray = vec![7; 100];
    after.insert(File::Segment(last), stray);
    let (plan, recovered) = repaired(&after, &bodies);
    assert!(plan.aside.contains(&File::Segment(1)));
    assert_eq!((recovered.first, recovered.next), (last, 80));
}
