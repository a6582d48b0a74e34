//! The instructions that the core takes for a message, counted by valgrind: the same on a busy
//! machine as on a quiet one. Fails where a case takes more than it may.
//!
//! ```text
//! cargo bench -p message-queue-core --bench instructions
//! ```
//! Counting is on only inside of [`counted`], which valgrind knows by its name.

mod work;

use core::hint::black_box;
use message_queue_core::DeliveryMode::{self, Broadcast, Queue};
use std::env;
use std::process::{Command, ExitCode, Stdio};
use work::held::Held;
use work::held::Order::{self, AtRandom, InOrder};
use work::{A_READ, Delivery, batch, decode, fed, split_in_four};

/// How often each case is done.
const TIMES: usize = 10;

/// The argument that a process under valgrind is given, before the name of its case.
const UNDER_VALGRIND: &str = "--case";

struct Case {
    name: &'static str,
    /// Messages that it handles or delivers each time.
    messages: usize,
    /// The most instructions for one of them: some more than it took when that was written.
    most: f64,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    Decode,
    Split,
    Deliver(DeliveryMode, usize),
    BesideAStuckOne,
    /// In version 2, to so many, beside so many topics.
    Acked(DeliveryMode, usize, usize),
    /// So many messages that a consumer holds are settled, one by one: a tenth of them each time.
    Settle(usize, Order),
}

const CASES: [Case; 18] = [
    case("decode", 1, Work::Decode, 17.1),
    case("split in four", 1, Work::Split, 15.1),
    case("broadcast to 1", 1, Work::Deliver(Broadcast, 1), 1.0),
    case("the same beside a stuck one", 1, Work::BesideAStuckOne, 1.0),
    case("broadcast to 10", 10, Work::Deliver(Broadcast, 10), 1.0),
    case(
        "broadcast to 1000",
        1000,
        Work::Deliver(Broadcast, 1000),
        1.0,
    ),
    case("queue to 1", 1, Work::Deliver(Queue, 1), 1.0),
    case("queue to 4", 1, Work::Deliver(Queue, 4), 18.0),
    // Runs of a few messages: each is noted by batch, with what handing it out again takes, and its member by group.
    case("queue to 100", 1, Work::Deliver(Queue, 100), 23.0),
    case("queue to 1000", 1, Work::Deliver(Queue, 1000), 23.0),
    // Each batch has room for its sums, which nobody has asked for here.
    case("acknowledged by 4", 4, Work::Acked(Broadcast, 4, 0), 1.1),
    case(
        "the same beside 1000 topics",
        4,
        Work::Acked(Broadcast, 4, 1000),
        1.5,
    ),
    case(
        "acknowledged by one of 4",
        1,
        Work::Acked(Queue, 4, 0),
        14.0,
    ),
    case(
        "likewise beside 1000 topics",
        1,
        Work::Acked(Queue, 4, 1000),
        15.0,
    ),
    // All that are held, one by one: a run is walked when it is first settled out of order, and that is shared by all.
    settle("settled in order, of 1000", 1000, InOrder, 2400.0),
    settle("settled in order, of 100,000", 100_000, InOrder, 2600.0),
    settle("settled at random, of 1000", 1000, AtRandom, 2950.0),
    settle("settled at random, of 100,000", 100_000, AtRandom, 3550.0),
];

const fn case(name: &'static str, copies: usize, work: Work, most: f64) -> Case {
    Case {
        name,
        messages: copies * A_READ,
        most,
        work,
    }
}

const fn settle(name: &'static str, held: usize, order: Order, most: f64) -> Case {
    Case {
        name,
        messages: held / TIMES,
        most,
        work: Work::Settle(held, order),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    if let [_, flag, name] = &args[..]
        && flag == UNDER_VALGRIND
    {
        let case = CASES.iter().find(|case| case.name == name);
        do_it(case.expect("a case of this program").work);
        return ExitCode::SUCCESS;
    }
    if !has_valgrind() {
        println!("SKIPPED: valgrind is not installed, so no instructions are counted");
        return ExitCode::SUCCESS;
    }
    println!("| core, messages of 128 B | instructions for a message | at most |\n|---|---|---|");
    let mut within = true;
    for case in CASES {
        let each = count(case.name) as f64 / (TIMES * case.messages) as f64;
        println!("| {} | {each:.3} | {} |", case.name, case.most);
        within &= each <= case.most;
    }
    if within {
        ExitCode::SUCCESS
    } else {
        println!("FAILED: a case takes more instructions than it may");
        ExitCode::FAILURE
    }
}

fn do_it(work: Work) {
    let whole = batch(A_READ);
    match work {
        Work::Decode => {
            for _ in 0..TIMES {
                let mut decoder = fed(whole.as_bytes());
                counted(|| decode(&mut decoder));
            }
        }
        Work::Split => {
            for _ in 0..TIMES {
                let rest = whole.clone();
                counted(|| split_in_four(rest));
            }
        }
        Work::Deliver(mode, consumers) => publish(Delivery::new(mode, consumers, whole)),
        Work::Acked(mode, consumers, topics) => {
            publish(Delivery::acked(mode, consumers, topics, whole));
        }
        Work::Settle(unsettled, order) => {
            let mut held = Held::new(unsettled);
            let mut positions = order.positions(unsettled);
            for _ in 0..TIMES {
                let some: Vec<u64> = positions.by_ref().take(unsettled / TIMES).collect();
                counted(|| some.iter().for_each(|it| held.settle(*it)));
            }
            assert_eq!(held.unsettled(), 0, "something was not settled");
        }
        Work::BesideAStuckOne => {
            publish(Delivery::new(Broadcast, 1, whole).beside_a_stuck_one());
        }
    }
}

fn publish(mut delivery: Delivery) {
    for _ in 0..TIMES {
        counted(|| delivery.publish());
    }
}

/// What valgrind counts.
#[inline(never)]
fn counted<R>(work: impl FnOnce() -> R) {
    black_box(work());
}

fn has_valgrind() -> bool {
    let version = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// The instructions that a case takes.
fn count(name: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted*")
        .arg(env::current_exe().expect("this program is a file"))
        .args([UNDER_VALGRIND, name])
        .output()
        .expect("valgrind was there a moment ago");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if output.status.success() => count,
        _ => panic!("valgrind failed: {said}"),
    }
}
