//! What clients ask while their room, new on this shard, is told by its other parts who is in it: they wait, in order.

use crate::command::Command;
use crate::participant::{RoomId, SocketId};

/// Commands that wait.
#[derive(Default)]
pub struct Held {
    commands: Vec<(RoomId, SocketId, Command)>,
}

impl Held {
    /// Whether something of that socket waits, so that what follows has to.
    pub fn waits(&self, socket: SocketId) -> bool {
        self.room_of(socket).is_some()
    }

    /// Holds somebody who comes to a room.
    pub fn hold(&mut self, room: RoomId, socket: SocketId, command: Command) {
        self.commands.push((room, socket, command));
    }

    /// Holds what follows from a socket of which something waits.
    pub fn push(&mut self, socket: SocketId, command: Command) {
        if let Some(room) = self.room_of(socket) {
            self.commands.push((room, socket, command));
        }
    }

    /// What waits for rooms that are ready.
    pub fn release(&mut self, ready: impl Fn(RoomId) -> bool) -> Vec<Command> {
        if self.commands.is_empty() {
            return Vec::new();
        }
        let due = self.commands.extract_if(.., |(room, ..)| ready(*room));
        due.map(|(_, _, command)| command).collect()
    }

    fn room_of(&self, socket: SocketId) -> Option<RoomId> {
        let held = self.commands.iter().find(|(_, of, _)| *of == socket);
        held.map(|(room, ..)| *room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Handle;

    #[test]
    fn what_a_socket_says_waits_behind_its_join_and_is_done_in_order() {
        let [first, second] = [0, 1].map(|number| RoomId(Handle::from_number(number)));
        let [anna, bert] = [SocketId(1), SocketId(2)];
        let mut held = Held::default();
        held.hold(first, anna, Command::Die);
        held.hold(second, bert, Command::Die);
        assert!(held.waits(anna) && !held.waits(SocketId(3)));
        held.push(anna, Command::Closed(anna));
        let done = held.release(|room| room == first);
        assert!(matches!(done[..], [Command::Die, Command::Closed(SocketId(1))]));
        assert!(!held.waits(anna) && held.waits(bert));
    }
}
