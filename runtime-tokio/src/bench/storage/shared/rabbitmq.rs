//! RabbitMQ without a broker of ours: lapin alone, in the runtime that its documentation has.

use super::Did;
use super::meter::Meter;
use super::place::{Names, Place};
use crate::bench::error::BenchError;
use crate::bench::plan::Plan;
use crate::bench::run::Progress;
use crate::store::{RabbitMqOptions, RabbitMqTarget, connect_to_rabbitmq};
use futures_core::Stream;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer, ExchangeKind};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use tokio::runtime::{Builder, Runtime};

/// RabbitMQ writes it to its disk.
const PERSISTENT: u8 = 2;

/// One acknowledgement is for so many.
const ACKNOWLEDGED: u64 = 100;

pub(super) struct RabbitMq {
    prefix: String,
    target: RabbitMqTarget,
    runtime: Runtime,
}

impl RabbitMq {
    pub(super) fn new(options: RabbitMqOptions) -> Result<Self, BenchError> {
        let prefix = options.prefix.clone();
        let target = RabbitMqTarget::new(options);
        let it = Self {
            prefix,
            target: target.map_err(|error| failed(&error.to_string()))?,
            runtime: Builder::new_multi_thread().enable_all().build()?,
        };
        // A broker would wait for it.
        it.runtime.block_on(async {
            let (connection, _) = it.connect().await?;
            close(connection).await;
            Ok::<_, BenchError>(())
        })?;
        Ok(it)
    }

    async fn connect(&self) -> Result<(Connection, Channel), BenchError> {
        let connection = connect_to_rabbitmq(&self.target).await;
        let connection = connection.map_err(|error| failed(&error))?;
        let channel = connection.create_channel().await.map_err(of_lapin)?;
        Ok((connection, channel))
    }
}

fn failed(what: &str) -> BenchError {
    BenchError::Engine {
        engine: "rabbitmq",
        what: what.to_owned(),
    }
}

fn of_lapin(error: lapin::Error) -> BenchError {
    failed(&error.to_string())
}

fn short(name: String) -> Result<ShortString, BenchError> {
    ShortString::try_new(name).map_err(|_| failed("RABBITMQ_PREFIX is too long for a benchmark"))
}

async fn close(connection: Connection) {
    // It ends in any case.
    let _ = connection.close(200, "bye".into()).await;
}

/// A message on its way until it is confirmed.
type OnItsWay<'a> = Pin<Box<dyn Future<Output = Result<(), BenchError>> + 'a>>;

/// Messages on their way, in order.
struct Window<'a> {
    channel: &'a Channel,
    exchange: ShortString,
    properties: BasicProperties,
    body: &'a [u8],
    on_their_way: VecDeque<OnItsWay<'a>>,
}

impl<'a> Window<'a> {
    /// Sends so many: lapin has each in its buffer when its future was polled once, and none of them waits for the one before to
    /// be written.
    async fn send(&mut self, messages: u64) -> Result<(), BenchError> {
        for _ in 0..messages {
            let (channel, body) = (self.channel, self.body);
            let (exchange, properties) = (self.exchange.clone(), self.properties.clone());
            let mut message: OnItsWay<'a> = Box::pin(async move {
                let options = BasicPublishOptions::default();
                let sent = channel.basic_publish(exchange, "".into(), options, body, properties);
                let confirm = sent.await.map_err(of_lapin)?;
                let confirmed = confirm.await.map_err(of_lapin)?;
                if confirmed.is_ack() {
                    Ok(())
                } else {
                    Err(failed("it has not confirmed a message"))
                }
            });
            match poll_fn(|cx| Poll::Ready(message.as_mut().poll(cx))).await {
                Poll::Ready(done) => done?,
                Poll::Pending => self.on_their_way.push_back(message),
            }
        }
        Ok(())
    }

    /// Waits until no more than so many are on their way.
    async fn wait(&mut self, most: u64) -> Result<(), BenchError> {
        while self.on_their_way.len() as u64 > most {
            if let Some(first) = self.on_their_way.pop_front() {
                first.await?;
            }
        }
        Ok(())
    }
}

async fn publish(
    channel: &Channel,
    exchange: ShortString,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
) -> Result<Did, BenchError> {
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.map_err(of_lapin)?;
    let body = vec![b'x'; plan.size];
    let mut messages = Window {
        channel,
        exchange,
        properties: BasicProperties::default().with_delivery_mode(PERSISTENT),
        body: &body,
        on_their_way: VecDeque::new(),
    };
    messages.send(1).await?;
    messages.wait(0).await?;
    let window = u64::from(plan.guarantees.window);
    let mut meter = Meter::start();
    let mut sent = 0;
    loop {
        let left = plan.volume.left(sent, meter.elapsed());
        if left == 0 {
            break;
        }
        let room = window.saturating_sub(messages.on_their_way.len() as u64);
        let room = room.min(left);
        messages.send(room).await?;
        sent += room;
        // Half of the window is on its way while the other is confirmed.
        messages.wait(window / 2).await?;
        meter.tell(sent, sent - messages.on_their_way.len() as u64, progress);
    }
    messages.wait(0).await?;
    Ok(meter.stop(sent))
}

async fn drain(
    consumer: &mut Consumer,
    channel: &Channel,
    mut meter: Meter,
    messages: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Did, BenchError> {
    let all = BasicAckOptions { multiple: true };
    let mut taken = 0;
    while taken < messages {
        let next = poll_fn(|cx| Pin::new(&mut *consumer).poll_next(cx)).await;
        let next = next.ok_or_else(|| failed("the queue is gone"))?;
        let delivery = next.map_err(of_lapin)?;
        if taken == 0 {
            meter.restart_clock();
        }
        taken += 1;
        if taken.is_multiple_of(ACKNOWLEDGED) || taken == messages {
            let acknowledged = channel.basic_ack(delivery.delivery_tag, all).await;
            acknowledged.map_err(of_lapin)?;
        }
        meter.tell(taken, taken, progress);
    }
    Ok(meter.stop(taken))
}

impl Place for RabbitMq {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn settings(&self, names: &Names) -> Vec<(&'static str, OsString)> {
        vec![
            ("STORAGE", "rabbitmq".into()),
            ("RABBITMQ_PREFIX", names.prefix.clone().into()),
        ]
    }

    fn make(&self, names: &Names) -> Result<(), BenchError> {
        let (exchange, queue) = (short(names.topic())?, short(names.group())?);
        self.runtime.block_on(async {
            let (connection, channel) = self.connect().await?;
            let (kind, none) = (ExchangeKind::Fanout, FieldTable::default());
            let durable = ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            };
            let declared = channel
                .exchange_declare(exchange.clone(), kind, durable, none.clone())
                .await;
            declared.map_err(of_lapin)?;
            let quorum = AMQPValue::LongString("quorum".into());
            let mut arguments = none.clone();
            arguments.insert("x-queue-type".into(), quorum);
            let options = QueueDeclareOptions::durable();
            let declared = channel
                .queue_declare(queue.clone(), options, arguments)
                .await;
            declared.map_err(of_lapin)?;
            let options = QueueBindOptions::default();
            let bound = channel
                .queue_bind(queue, exchange, "".into(), options, none)
                .await;
            bound.map_err(of_lapin)?;
            close(connection).await;
            Ok(())
        })
    }

    fn publish(
        &self,
        names: &Names,
        plan: &Plan,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Did, BenchError> {
        let exchange = short(names.topic())?;
        self.runtime.block_on(async {
            let (connection, channel) = self.connect().await?;
            let did = publish(&channel, exchange, plan, progress).await?;
            close(connection).await;
            Ok(did)
        })
    }

    fn drain(
        &self,
        names: &Names,
        plan: &Plan,
        messages: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Did, BenchError> {
        let queue = short(names.group())?;
        let prefetch = u16::try_from(plan.guarantees.window).unwrap_or(u16::MAX);
        self.runtime.block_on(async {
            let (connection, channel) = self.connect().await?;
            let meter = Meter::start();
            let options = BasicQosOptions::default();
            let limited = channel.basic_qos(prefetch, options).await;
            limited.map_err(of_lapin)?;
            let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
            let consumer = channel.basic_consume(queue, "".into(), options, none).await;
            let mut consumer = consumer.map_err(of_lapin)?;
            let did = drain(&mut consumer, &channel, meter, messages, progress).await?;
            close(connection).await;
            Ok(did)
        })
    }

    fn delete(&self, names: &Names) -> Result<(), BenchError> {
        let (exchange, queue) = (short(names.topic())?, short(names.group())?);
        self.runtime.block_on(async {
            let (connection, channel) = self.connect().await?;
            let deleted = channel
                .queue_delete(queue, QueueDeleteOptions::default())
                .await;
            deleted.map_err(of_lapin)?;
            let deleted = channel
                .exchange_delete(exchange, ExchangeDeleteOptions::default())
                .await;
            deleted.map_err(of_lapin)?;
            close(connection).await;
            Ok(())
        })
    }
}
