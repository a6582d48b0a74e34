//! One connection to RabbitMQ, and what has been declared, opened and published by it. When it is lost all that goes
//! with it.

use super::PATIENCE;
use super::message::properties;
use crate::store::shared::Piece;
use futures_core::Stream;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Confirmation, Connection, Error, ExchangeKind, message::Delivery};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::{Count, GroupId, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

/// What a connection, or the making of one, has to say.
pub(super) enum Happened {
    Connected(Result<Connection, String>),
    /// A group is open, by a consumer of this number.
    Opened(TopicId, GroupId, u64),
    /// That takes long.
    NotOpened(TopicId, GroupId, u64),
    Delivered(TopicId, GroupId, u64, Box<Delivery>),
    /// A consumer of this number gets nothing more.
    Ended(TopicId, GroupId, u64, String),
    /// The last sequence of a piece, by which connection it was sent, and for how much of it no queue was there; none if
    /// RabbitMQ has not got all of it.
    Confirmed(TopicId, u64, u64, Option<Count>),
    /// The number of a change of a group, by which connection it was told, and whether RabbitMQ has heard of it.
    Heard(TopicId, u64, u64, Heard),
}

/// Whether RabbitMQ has heard of what was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    /// The group's channel has ended: what was settled by it comes again, or was heard.
    No,
    /// It does not answer.
    Unanswered,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The connection is lost.
    #[error("{0}")]
    Lost(String),
    /// RabbitMQ does not do that, and the connection stands.
    #[error("{0}")]
    Refused(String),
}

pub(super) struct Link {
    /// Of all connections that there were.
    pub(super) number: u64,
    connection: Connection,
    prefix: String,
    /// For what is declared; made anew when RabbitMQ has refused something.
    declaring: Channel,
    publishing: Channel,
    exchanges: BTreeSet<TopicId>,
    queues: BTreeSet<(TopicId, Name)>,
    consuming: BTreeMap<(TopicId, GroupId), Channel>,
    happened: UnboundedSender<Happened>,
}

impl Link {
    pub(super) async fn new(
        number: u64,
        connection: Connection,
        prefix: String,
        happened: UnboundedSender<Happened>,
    ) -> Result<Self, String> {
        let text = |error: Error| error.to_string();
        let declaring = connection.create_channel().await.map_err(text)?;
        let publishing = connection.create_channel().await.map_err(text)?;
        let confirms = ConfirmSelectOptions::default();
        publishing.confirm_select(confirms).await.map_err(text)?;
        Ok(Self {
            number,
            connection,
            prefix,
            declaring,
            publishing,
            exchanges: BTreeSet::new(),
            queues: BTreeSet::new(),
            consuming: BTreeMap::new(),
            happened,
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected() && self.publishing.status().connected()
    }

    pub(super) async fn close(self) {
        // It ends in any case.
        let _ = self.connection.close(200, "bye".into()).await;
    }

    fn exchange(&self, topic: &TopicName) -> Result<ShortString, Failure> {
        short(format!("{}{topic}", self.prefix))
    }

    fn queue(&self, topic: &TopicName, group: &Name) -> Result<ShortString, Failure> {
        short(format!("{}{topic}/{group}", self.prefix))
    }

    fn failure(&self, error: &Error) -> Failure {
        let text = error.to_string();
        if self.is_connected() {
            Failure::Refused(text)
        } else {
            Failure::Lost(text)
        }
    }

    /// Something was refused, which has ended the channel.
    async fn refused(&mut self, error: Error) -> Failure {
        let failure = self.failure(&error);
        if let Failure::Refused(_) = failure
            && !self.declaring.status().connected()
        {
            match self.connection.create_channel().await {
                Ok(channel) => self.declaring = channel,
                Err(error) => return Failure::Lost(error.to_string()),
            }
        }
        failure
    }

    /// Sees to it that a topic's exchange is there.
    pub(super) async fn declare_topic(
        &mut self,
        id: TopicId,
        name: &TopicName,
    ) -> Result<(), Failure> {
        if self.exchanges.contains(&id) {
            return Ok(());
        }
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = self
            .declaring
            .exchange_declare(
                self.exchange(name)?,
                ExchangeKind::Fanout,
                options,
                FieldTable::default(),
            )
            .await;
        match declared {
            Ok(()) => {
                self.exchanges.insert(id);
                Ok(())
            }
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Sees to it that the queue of a lasting group is there, and gets what is published.
    pub(super) async fn declare_group(
        &mut self,
        id: TopicId,
        topic: &TopicName,
        group: &Name,
    ) -> Result<(), Failure> {
        let key = (id, group.clone());
        if self.queues.contains(&key) {
            return Ok(());
        }
        let queue = self.queue(topic, group)?;
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.declare_queue(topic, queue, options, arguments).await?;
        self.queues.insert(key);
        Ok(())
    }

    async fn declare_queue(
        &mut self,
        topic: &TopicName,
        queue: ShortString,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<ShortString, Failure> {
        let exchange = self.exchange(topic)?;
        let channel = self.declaring.clone();
        let declare = async {
            let queue = channel.queue_declare(queue, options, arguments).await?;
            let name = queue.name().clone();
            let options = QueueBindOptions::default();
            channel
                .queue_bind(
                    name.clone(),
                    exchange,
                    "".into(),
                    options,
                    FieldTable::default(),
                )
                .await?;
            Ok(name)
        };
        match declare.await {
            Ok(name) => Ok(name),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Begins to open a group: [`Happened::Opened`] follows with this number, then what is in its queue. A queue that has
    /// no leader does not answer, and is not waited for here.
    pub(super) async fn open_group(
        &mut self,
        (topic, group): (TopicId, GroupId),
        topic_name: &TopicName,
        name: Option<&Name>,
        most: u16,
        number: u64,
    ) -> Result<(), Failure> {
        let queue = match name {
            Some(name) => {
                self.declare_group(topic, topic_name, name).await?;
                self.queue(topic_name, name)?
            }
            None => {
                let options = QueueDeclareOptions {
                    exclusive: true,
                    auto_delete: true,
                    ..QueueDeclareOptions::default()
                };
                let nameless = "".into();
                self.declare_queue(topic_name, nameless, options, FieldTable::default())
                    .await?
            }
        };
        let channel = self.connection.create_channel().await;
        let channel = channel.map_err(|error| self.failure(&error))?;
        self.consuming.insert((topic, group), channel.clone());
        let happened = self.happened.clone();
        tokio::spawn(async move {
            let why = consume(&channel, queue, most, (topic, group, number), &happened).await;
            // When the worker is gone nobody wants to know.
            let _ = happened.send(Happened::Ended(topic, group, number, why));
        });
        Ok(())
    }

    /// Closes a group: what it has not settled is for others.
    pub(super) async fn close_group(&mut self, topic: TopicId, group: GroupId) {
        if let Some(channel) = self.consuming.remove(&(topic, group)) {
            // If it is not there any more, that is what was wanted.
            let _ = channel.close(200, "bye".into()).await;
        }
    }

    /// Settles what a group has settled: all up to a tag, and others.
    pub(super) async fn acknowledge(
        &self,
        key: (TopicId, GroupId),
        up_to: Option<u64>,
        others: Vec<u64>,
    ) -> Result<(), Failure> {
        let Some(channel) = self.consuming.get(&key) else {
            return Ok(());
        };
        let acknowledging = async {
            if let Some(tag) = up_to {
                let multiple = BasicAckOptions { multiple: true };
                channel.basic_ack(tag, multiple).await?;
            }
            for tag in others {
                channel.basic_ack(tag, BasicAckOptions::default()).await?;
            }
            Ok(())
        };
        acknowledging.await.map_err(|error| self.failure(&error))
    }

    /// Asks whether RabbitMQ has heard of what was acknowledged for a group: [`Happened::Heard`] follows with this number. It
    /// is not waited for here: others have their turn meanwhile. Returns whether there is anybody to ask.
    pub(super) fn ask_whether_heard(
        &self,
        key: (TopicId, GroupId),
        most: u16,
        change: u64,
    ) -> bool {
        let Some(channel) = self.consuming.get(&key).cloned() else {
            return false;
        };
        let (happened, number) = (self.happened.clone(), self.number);
        tokio::spawn(async move {
            // It is answered, and what came before on the channel has been heard then.
            let answer = timeout(
                PATIENCE,
                channel.basic_qos(most, BasicQosOptions::default()),
            );
            let heard = match answer.await {
                Ok(Ok(())) => Heard::Yes,
                Ok(Err(_)) => Heard::No,
                Err(_) => Heard::Unanswered,
            };
            // When the worker is gone nobody wants to know.
            let _ = happened.send(Happened::Heard(key.0, change, number, heard));
        });
        true
    }

    /// Has one that nobody can be sent thrown away, or dead-lettered as RabbitMQ was told.
    pub(super) async fn reject(&self, key: (TopicId, GroupId), tag: u64) {
        if let Some(channel) = self.consuming.get(&key) {
            // One that cannot be told comes again.
            let _ = channel
                .basic_reject(tag, BasicRejectOptions::default())
                .await;
        }
    }

    /// Publishes a piece. [`Happened::Confirmed`] follows, unless the connection is lost.
    pub(super) async fn publish(
        &self,
        id: TopicId,
        topic: &TopicName,
        piece: &Piece,
    ) -> Result<(), Failure> {
        let exchange = self.exchange(topic)?;
        let properties = properties(piece.published, piece.origin.as_deref());
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let bodies: Vec<_> = piece.batch.bodies().collect();
        let mut confirms = Vec::with_capacity(bodies.len());
        let mut sending = Vec::with_capacity(bodies.len());
        for body in &bodies {
            let publishing = self.publishing.basic_publish(
                exchange.clone(),
                "".into(),
                options,
                body.as_ref(),
                properties.clone(),
            );
            let mut publishing = Box::pin(publishing);
            // Once polled it is in its place in what is to be written. Only then each waits until it was: none waits for the
            // writing of the one before.
            match poll_fn(|cx| Poll::Ready(publishing.as_mut().poll(cx))).await {
                Poll::Ready(published) => confirms.push(published.map_err(lost)?),
                Poll::Pending => sending.push(publishing),
            }
        }
        for publishing in sending {
            confirms.push(publishing.await.map_err(lost)?);
        }
        let (happened, last, number) = (self.happened.clone(), piece.last, self.number);
        tokio::spawn(async move {
            let mut unrouted = Some(Count::ZERO);
            for confirm in confirms {
                match (confirm.await, &mut unrouted) {
                    (Ok(Confirmation::Ack(None)), _) | (Ok(Confirmation::Ack(Some(_))), None) => {}
                    (Ok(Confirmation::Ack(Some(returned))), Some(unrouted)) => {
                        *unrouted += Count::new(1, LENGTH_PREFIX + returned.delivery.data.len());
                    }
                    (Ok(Confirmation::Nack(_) | Confirmation::NotRequested) | Err(_), _) => {
                        unrouted = None;
                    }
                }
            }
            // When the worker is gone nobody wants to know.
            let _ = happened.send(Happened::Confirmed(id, last, number, unrouted));
        });
        Ok(())
    }
}

fn lost(error: Error) -> Failure {
    Failure::Lost(error.to_string())
}

fn short(name: String) -> Result<ShortString, Failure> {
    ShortString::try_new(name.clone())
        .map_err(|_| Failure::Refused(format!("{name}: RabbitMQ's names have at most 255 bytes")))
}

/// Opens a group, and passes on what comes for it. Returns why nothing more does.
async fn consume(
    channel: &Channel,
    queue: ShortString,
    most: u16,
    (topic, group, number): (TopicId, GroupId, u64),
    happened: &UnboundedSender<Happened>,
) -> String {
    // When the worker is gone nobody wants to know, here as below.
    let tell = |it| drop(happened.send(it));
    let mut opening = pin!(async {
        channel.basic_qos(most, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        consumer.await
    });
    let opened = loop {
        match timeout(PATIENCE, &mut opening).await {
            Ok(opened) => break opened,
            Err(_) => tell(Happened::NotOpened(topic, group, number)),
        }
    };
    let mut consumer = match opened {
        Ok(consumer) => consumer,
        Err(error) => return error.to_string(),
    };
    tell(Happened::Opened(topic, group, number));
    loop {
        let next = poll_fn(|cx| Pin::new(&mut consumer).poll_next(cx));
        match next.await {
            Some(Ok(delivery)) => {
                tell(Happened::Delivered(
                    topic,
                    group,
                    number,
                    Box::new(delivery),
                ));
            }
            Some(Err(error)) => return error.to_string(),
            None => return "the queue is gone".to_owned(),
        }
    }
}
