//! Messages that have failed often, and are handed out alone.

use super::{GroupName, Message, Model};

/// From so many failures on.
pub(super) const ALONE_FROM: u32 = 3;

impl Message {
    pub(super) const fn goes_alone(&self) -> bool {
        self.failures >= ALONE_FROM
    }
}

impl Model {
    /// In a group of which one member, of one topic, gets everything: hands out a message that goes alone, if one waits and that
    /// member holds nothing. Returns whether nothing else goes out: it is kept free for such a message, or holds one.
    pub(super) fn hand_out_alone(&mut self, topic: &str, name: &GroupName) -> bool {
        let is_free = self.credit(topic, name) > 0;
        let members = self.topics[topic].groups[name].members.iter();
        let held = members.flat_map(|it| self.consumers[it].held.values());
        let held = held.map(|it| &it.message);
        let on_its_way = self.topics[topic].groups[name].on_its_way.values();
        let mut in_hand = held.chain(on_its_way).peekable();
        let holds_nothing = in_hand.peek().is_none();
        let holds_one = in_hand.any(Message::goes_alone);
        let group = self.group(topic, name);
        let mut ready = group.ready.iter();
        let first = ready.find(|(_, it)| it.goes_alone());
        let first = first.map(|(sequence, _)| *sequence);
        if let Some(sequence) = first.filter(|_| is_free && holds_nothing) {
            let message = group.ready.remove(&sequence).expect("it waits");
            group.on_its_way.insert(sequence, message);
        }
        holds_one || first.is_some()
    }
}
