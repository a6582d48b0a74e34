//! An application that survives a crash of its broker and a network that stands still.
//!
//! A thermometer publishes numbered readings; a display shows the latest. The broker answers
//! nothing and keeps everything in memory, so both do what every client of it has to do: they
//! reconnect when the connection ends, and they do not mind a reading that got lost. The test shows
//! that this is enough, in some seconds of simulated time.
//!
//! `cargo run -p message-queue-sim --example survives_a_crash`

use message_queue_sim::Broker;
use message_queue_tokio::client::{Consumer, Producer};
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;
use turmoil::net::TcpStream;

/// How long both wait until they try again to connect.
const AGAIN: Duration = Duration::from_millis(200);

/// How often there is a reading.
const EVERY: Duration = Duration::from_millis(100);

/// Publishes readings for ever, over one connection after the other.
async fn thermometer() -> Result<(), Box<dyn Error>> {
    let mut reading: u32 = 0;
    loop {
        // Whatever ended the connection: there will be another.
        let _ended = publish(&mut reading).await;
        sleep(AGAIN).await;
    }
}

async fn publish(reading: &mut u32) -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(("broker", 9080)).await?;
    let mut producer = Producer::over(stream, "broker").await?;
    loop {
        *reading += 1;
        producer.send(reading.to_be_bytes()).await?;
        producer.flush().await?;
        sleep(EVERY).await;
    }
}

/// Shows the latest reading for ever.
async fn display(shown: Rc<Cell<u32>>) -> Result<(), Box<dyn Error>> {
    loop {
        let _ended = show(&shown).await;
        sleep(AGAIN).await;
    }
}

async fn show(shown: &Cell<u32>) -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(("broker", 9080)).await?;
    let mut consumer = Consumer::over(stream, "broker").await?;
    while let Some(message) = consumer.next().await? {
        let reading = u32::from_be_bytes(message.as_ref().try_into()?);
        if reading < shown.get() {
            return Err(io::Error::other("the display went back in time").into());
        }
        shown.set(reading);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(60))
        .tick_duration(Duration::from_millis(5))
        .rng_seed(7)
        .build();
    let broker = Broker::broadcast().host(&mut sim, "broker");
    let shown = Rc::new(Cell::new(0));
    let on_display = Rc::clone(&shown);
    sim.client("thermometer", thermometer());
    sim.client("display", display(on_display));

    run_until(&mut sim, || shown.get() >= 10)?;
    println!("{:?}: the display shows {}", sim.elapsed(), shown.get());

    sim.crash("broker");
    let before = shown.get();
    run_for(&mut sim, Duration::from_secs(3))?;
    assert_eq!(shown.get(), before, "without a broker nothing gets through");
    sim.bounce("broker");
    run_until(&mut sim, || shown.get() > before)?;
    println!(
        "{:?}: after a crash it shows {}",
        sim.elapsed(),
        shown.get()
    );

    sim.hold("broker", "display");
    let before = shown.get();
    run_for(&mut sim, Duration::from_secs(3))?;
    assert_eq!(shown.get(), before, "what is held does not arrive");
    sim.release("broker", "display");
    run_until(&mut sim, || shown.get() > before + 20)?;
    println!("{:?}: after a hold it shows {}", sim.elapsed(), shown.get());

    let lost = broker.stats().flow.dropped_in_all();
    println!(
        "since it was restarted, the broker has dropped {} messages",
        lost.messages
    );
    Ok(())
}

fn run_until(sim: &mut turmoil::Sim<'_>, done: impl Fn() -> bool) -> Result<(), Box<dyn Error>> {
    // The simulation ends with an error when its time is up.
    while !done() {
        sim.step()?;
    }
    Ok(())
}

fn run_for(sim: &mut turmoil::Sim<'_>, span: Duration) -> Result<(), Box<dyn Error>> {
    let end = sim.elapsed() + span;
    while sim.elapsed() < end {
        sim.step()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_application_survives() {
        super::main().expect("it does");
    }
}
