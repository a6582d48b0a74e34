//! Segments that are damaged, missing, or of another log.

use super::{
    Bodies, EPOCH, Files, Host, NEW_EPOCH, damage, filled, inspect, kinds, lost, records, repaired,
    segments,
};
use crate::log::tests::{File, ReadFrom};
use crate::log::{Damage, DamageKind, Groups};
use alloc::vec;
use alloc::vec::Vec;

#[test]
fn a_record_that_is_damaged_becomes_a_gap_and_those_around_it_are_kept() {
    let (files, bodies) = filled();
    for segment in segments(&files) {
        let all = records(&files, segment);
        for (place, (bytes, range)) in all.iter().enumerate() {
            let is_last = range.to == 80;
            for at in [
                bytes.start,
                bytes.start + 5,
                bytes.start + 15,
                bytes.end - 1,
            ] {
                let mut files = files.clone();
                let data = files.get_mut(&File::Segment(segment)).expect("there");
                data[at] ^= 0x10;
                let found = damage(&files);
                let offset = bytes.start as u64;
                assert_eq!(found[0].file, File::Segment(segment));
                assert_eq!(found[0].offset, offset, "{at}");
                // Of the very last only the group says that it was safe.
                assert_eq!((&found[0].kind, found.len()), (&DamageKind::NotARecord, 1));
                let (plan, _) = repaired(&files, &bodies);
                let to = if is_last { 79 } else { range.to };
                assert_eq!(lost(&plan), [(range.from, to)], "{place} of {segment}");
                assert_eq!(plan.is_end_unknown, is_last);
                assert_eq!(plan.groups, Groups::Kept);
            }
            // Zeros, as a disk has them that has lost a sector.
            let mut files = files.clone();
            let data = files.get_mut(&File::Segment(segment)).expect("there");
            data[bytes.clone()].fill(0);
            assert_eq!(damage(&files).len(), 1);
            repaired(&files, &bodies);
        }
    }
}

/// Every byte before the first message of every segment, changed one at a time.
#[test]
fn a_head_that_is_damaged_is_made_anew_with_the_producers_and_loses_nothing() {
    let (files, bodies) = filled();
    for segment in segments(&files) {
        let begin = records(&files, segment)[0].0.start;
        for at in 0..begin {
            let mut files = files.clone();
            files.get_mut(&File::Segment(segment)).expect("there")[at] ^= 0x20;
            let found = damage(&files);
            assert_eq!(found.len(), 1, "{at} of {segment}: {found:?}");
            let (plan, recovered) = repaired(&files, &bodies);
            assert_eq!(plan.lost, [], "{at} of {segment}");
            let positions = recovered.producers.iter().map(|it| it.position);
            assert!(positions.eq([39, 40, 38]), "{at} of {segment}");
        }
    }
}

#[test]
fn a_segment_that_is_cut_off_keeps_its_front() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let all = records(&files, firsts[1]);
    let next = firsts[2];
    for cut in 0..files[&File::Segment(firsts[1])].len() {
        let mut files = files.clone();
        files
            .get_mut(&File::Segment(firsts[1]))
            .expect("there")
            .truncate(cut);
        let found = damage(&files);
        assert_eq!(found.len(), 1, "{cut}: {found:?}");
        let (plan, _) = repaired(&files, &bodies);
        let whole = all.iter().filter(|(bytes, _)| bytes.end <= cut).count();
        let begin = all.get(whole).map_or(next, |(_, range)| range.from);
        assert_eq!(lost(&plan), [(begin, next - 1)], "{cut}");
    }
}

#[test]
fn segments_that_are_missing_become_gaps() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let last = firsts.len() - 1;
    for (from, to) in [
        (0, 0),
        (0, 1),
        (1, 1),
        (1, 2),
        (last, last),
        (1, last),
        (0, last),
    ] {
        let mut files = files.clone();
        for first in &firsts[from..=to] {
            files.remove(&File::Segment(*first));
        }
        let found = kinds(&files);
        assert!(
            found.iter().any(|(_, kind)| *kind == DamageKind::Missing),
            "{found:?}"
        );
        let (plan, recovered) = repaired(&files, &bodies);
        // Of the last nothing says how far it went but the group.
        let end = firsts.get(to + 1).map_or(79, |it| it - 1);
        let total: u64 = plan.lost.iter().map(|it| it.to - it.from + 1).sum();
        assert_eq!(
            total,
            end + 1 - firsts[from],
            "{from} to {to}: {:?}",
            plan.lost
        );
        assert_eq!(plan.is_end_unknown, to == last);
        assert_eq!(recovered.next, if to == last { 80 } else { 81 });
    }
}

#[test]
fn segments_that_were_swapped_are_put_right_and_lose_nothing() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let last = firsts.len() - 1;
    for (one, other) in [(0, 1), (1, 3), (2, last)] {
        let [one, other] = [one, other].map(|it| File::Segment(firsts[it]));
        let mut files = files.clone();
        let taken = files.remove(&one).expect("there");
        let put = files.insert(other, taken).expect("there");
        files.insert(one, put);
        let found = kinds(&files);
        assert_eq!(found, [one, other].map(|it| (it, DamageKind::Misplaced)));
        let (plan, _) = repaired(&files, &bodies);
        assert_eq!(plan.lost, []);
    }
}

#[test]
fn a_segment_of_another_log_is_moved_aside() {
    let (files, bodies) = filled();
    let mut other = Host::open(EPOCH + 1, Files::new());
    for number in 1..=40 {
        other.append(number, &mut Bodies::new());
    }
    let others = other.disk.files();
    let firsts = segments(&files);
    assert_eq!(firsts, segments(&others));
    for first in &firsts[..3] {
        let file = File::Segment(*first);
        let mut files = files.clone();
        files.insert(file, others[&file].clone());
        assert_eq!(damage(&files)[0].kind, DamageKind::Misplaced);
        let (plan, _) = repaired(&files, &bodies);
        assert!(plan.aside.contains(&file));
        let end = firsts[firsts.iter().position(|it| it == first).expect("there") + 1] - 1;
        assert_eq!(lost(&plan), [(*first, end)]);
    }
    // So is one that is only in the way.
    let mut files = files.clone();
    let stray = File::Segment(firsts[1] + 1);
    files.insert(stray, others[&File::Segment(firsts[1])].clone());
    let (plan, _) = repaired(&files, &bodies);
    assert_eq!((plan.aside, plan.lost), (vec![stray], Vec::new()));
}

#[test]
fn a_later_format_is_left_alone() {
    let (files, _) = filled();
    let head = crate::log::content::Head {
        format: 2,
        epoch: EPOCH,
        first: segments(&files)[1],
        previous: 1,
        published: 0,
    };
    let head = crate::log::content::head_of_segment(head, 0, core::iter::empty());
    let mut later = files.clone();
    let file = File::Segment(segments(&files)[1]);
    later.get_mut(&file).expect("there")[..head.len()].copy_from_slice(&head);
    let (inspection, _) = inspect(&later, ReadFrom::First);
    let expected = Damage {
        file,
        offset: 0,
        kind: DamageKind::NewerFormat(2),
    };
    assert_eq!(inspection.damage(), core::slice::from_ref(&expected));
    assert_eq!(inspection.plan(NEW_EPOCH), Err(&expected));
}
