//! An application that loses nothing and repeats nothing, though its processes and their connections are killed
//! again and again.
//!
//! A shop publishes its orders; two bookkeepers share the work and enter each order in one book. They are processes
//! of their own and use the client library as anybody would. All three are killed (SIGKILL) at random moments and
//! started again, and their connections are ended under them. At the end each order is in the book, once.
//!
//! How they do it, and what of it is whose:
//!
//! - **The shop** publishes under a name. The broker remembers how many messages of that name it has taken in, and after
//!   a restart the client passes over as many. The shop keeps no note of its own, but it has to send the same orders in
//!   the same order: here they are numbered, elsewhere they are rows of a table.
//! - **A bookkeeper** acknowledges an order after it has entered it. Killed in between, it has entered an order that
//!   the broker hands out again. No broker can prevent that, so the book does: an entry has the order's place for ever
//!   (topic, epoch, sequence) as its key, and cannot be made twice. In a database that would be a unique column, in the
//!   same transaction as the effect; here it is the name of a file that is linked to its place when it is complete.
//! - **The broker** keeps messages and names in memory. While it lives, none of this depends on luck; it is not killed
//!   here.

use message_queue_tests::process::Broker;
use message_queue_tests::random::SplitMix64;
use message_queue_tokio::client::acked::{Consumer, Message, Producer, Retry};
use serde_json::Value;
use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tokio::time::Instant;

const ORDERS: u64 = 3_000;

/// How often something is killed.
const KILLS: usize = 15;

/// What a process of the application is told.
const ROLE: &str = "APPLICATION_ROLE";
const ADDRESS: &str = "APPLICATION_BROKER";
const BOOK: &str = "APPLICATION_BOOK";

type Outcome = Result<(), Box<dyn Error>>;

fn order(number: u64) -> String {
    format!("order {number}")
}

/// Publishes all orders that the broker has not, and ends when it has them all.
async fn shop(address: &str) -> Outcome {
    let producer = Producer::builder()
        .topic("orders")
        .name("shop")
        .retry(Retry::Always)
        .connect(address)
        .await?;
    // The producer counts from the first order, and passes over those that the broker has.
    for number in 1..=ORDERS {
        producer.send(order(number)).await?;
    }
    producer.close().await?;
    Ok(())
}

/// Enters orders for ever.
async fn bookkeeper(address: &str, book: &Path) -> Outcome {
    let mut consumer = Consumer::builder()
        .topic("orders")
        .group("books")
        .retry(Retry::Always)
        .connect(address)
        .await?;
    loop {
        let message = consumer.next().await?;
        enter(book, &message)?;
        // Without effect if the connection has been lost: it comes again, and is found in the book.
        message.ack();
    }
}

/// Makes an entry, unless it is there. It is whole or not at all.
fn enter(book: &Path, message: &Message) -> io::Result<()> {
    let meta = &message.meta;
    let draft = book.join(format!("draft-{}-{}", std::process::id(), meta.sequence));
    let entry = book.join(format!("{}-{}", meta.topic, meta.sequence));
    let body = String::from_utf8_lossy(&message.body);
    fs::write(&draft, format!("{}\n{body}", meta.attempt))?;
    let linked = fs::hard_link(&draft, &entry);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a process of the application does.
fn run(role: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let address = env::var(ADDRESS).expect("an address");
    let book = PathBuf::from(env::var_os(BOOK).expect("a book"));
    let outcome = match role {
        "shop" => runtime.block_on(shop(&address)),
        _ => runtime.block_on(bookkeeper(&address, &book)),
    };
    outcome.expect("it goes on over whatever ends its connections");
}

/// A process of the application. Killed when dropped.
struct Process {
    role: &'static str,
    child: Child,
}

impl Process {
    /// This test, told to be a part of the application.
    fn start(role: &'static str, broker: &Broker, book: &Path) -> Self {
        let child = Command::new(env::current_exe().expect("a path"))
            .args(["--exact", "each_order_is_in_the_book_once", "--nocapture"])
            .env(ROLE, role)
            .env(ADDRESS, broker.tcp().to_string())
            .env(BOOK, book)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        Self { role, child }
    }

    fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("it was started");
        if let Some(status) = status {
            assert!(status.success(), "{}: {status}", self.role);
        }
        status.is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is in the book: the attempt in which an order was entered, and the order.
fn entries(book: &Path) -> Vec<(u32, String)> {
    let files = fs::read_dir(book).expect("a directory");
    let names = files.map(|it| it.expect("an entry").path());
    let is_entry = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        !name.to_string_lossy().starts_with("draft")
    };
    let read = |path: PathBuf| {
        let text = fs::read_to_string(path).expect("a whole entry");
        let (attempt, order) = text.split_once('\n').expect("two lines");
        (attempt.parse().expect("a number"), order.to_owned())
    };
    names.filter(is_entry).map(read).collect()
}

/// How many orders are entered.
fn entered(book: &Path) -> usize {
    let files = fs::read_dir(book).expect("a directory");
    let names = files.map(|it| it.expect("an entry").file_name());
    names
        .filter(|name| !name.to_string_lossy().starts_with("draft"))
        .count()
}

/// Ends a connection of the application, if it has one now.
fn end_a_connection(broker: &Broker, at: usize) {
    let ids = |page: &str| {
        let (_, page) = broker.get(page);
        let list: Value = serde_json::from_str(&page).unwrap_or_default();
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter()
            .filter_map(|it| it["id"].as_u64())
            .collect::<Vec<_>>()
    };
    let all = [ids("/producers"), ids("/consumers")].concat();
    if let Some(id) = all.get(at % all.len().max(1)) {
        // It may have gone meanwhile.
        let _ = broker.request("DELETE", &format!("/connections/{id}"));
    }
}

#[test]
fn each_order_is_in_the_book_once() {
    const PATIENCE: Duration = Duration::from_secs(120);
    if let Ok(role) = env::var(ROLE) {
        return run(&role);
    }
    let broker = Broker::start(&[("QUEUE_CAPACITY", "500")]);
    let book = tempfile::tempdir().expect("a directory");
    let book = book.path();
    // Without a group nothing would be kept.
    let mut application = vec![Process::start("bookkeeper", &broker, book)];
    broker.wait_for_metric("message_queue_consumers", 1.0);
    application.push(Process::start("bookkeeper", &broker, book));
    application.push(Process::start("shop", &broker, book));

    let mut random = SplitMix64::new(7);
    let mut kills = 0;
    let begun = Instant::now();
    let mut next = 1;
    loop {
        let now = entered(book);
        let all_sent = application[2].has_ended();
        if now == ORDERS as usize && all_sent {
            break;
        }
        assert!(now <= ORDERS as usize, "one is there twice");
        assert!(begun.elapsed() < PATIENCE, "{now} of {ORDERS} are entered");
        if now < next || kills == KILLS {
            std::thread::yield_now();
            continue;
        }
        kills += 1;
        next = now + 1 + random.below(2 * ORDERS as usize / KILLS);
        let at = random.below(4);
        if application.get_mut(at).is_some_and(|it| !it.has_ended()) {
            let role = application[at].role;
            // Killed before another is started in its place.
            application.remove(at);
            application.insert(at, Process::start(role, &broker, book));
        } else {
            end_a_connection(&broker, random.below(3));
        }
    }
    drop(application);
    let entries = entries(book);
    let orders: BTreeSet<&str> = entries.iter().map(|(_, order)| order.as_str()).collect();
    assert_eq!(entries.len(), ORDERS as usize);
    let expected: Vec<String> = (1..=ORDERS).map(order).collect();
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(orders, expected);
    assert!(kills > 5, "{kills} kills show little");
    let again = entries.iter().filter(|(attempt, _)| *attempt > 1).count();
    assert!(again > 0, "nothing had to be handed out again");
}
