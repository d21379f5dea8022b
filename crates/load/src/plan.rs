//! What is asked of a load.

use std::path::PathBuf;
use std::time::Duration;

use auralink_types::{FieldError, check_name};
use serde::Serialize;

use crate::call::Media;
use crate::turns::Turns;

/// Most people in one process: each has two sockets, and one thread looks at all of them.
const MAX_PEOPLE: usize = 5_000;

/// Fewest bytes of a message: it says when it was sent.
pub const MIN_MESSAGE: usize = 16;

/// What the server is to do with speech, and what those who hear it understand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aic {
    /// Pass it on.
    #[default]
    Off,
    /// Save bandwidth among stock clients.
    Stock,
    /// Save bandwidth among clients that decode what AIC sends and send what it asks for.
    Capable,
}

/// Who joins, what they send, how long.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Address of the server.
    pub url: String,
    /// PEM file of certificate authorities that are trusted besides the web's.
    pub authorities: Option<PathBuf>,
    /// API key that signs the tokens.
    pub key: String,
    /// Its secret.
    #[serde(skip)]
    pub secret: String,
    /// What people are called: two loads in one room need two names.
    pub name: String,
    /// What rooms are called, to share them with other loads; as people are without it.
    pub room_name: Option<String>,
    /// Rooms.
    pub rooms: usize,
    /// People in each room who send.
    pub publishers: usize,
    /// People in each room who only listen.
    pub subscribers: usize,
    /// Whether those who send listen as well.
    pub publishers_listen: bool,
    /// What is sent.
    pub media: Vec<Media>,
    /// Who of a room's publishers speak at a time; all without it.
    pub talking: Option<usize>,
    /// Length of a turn.
    pub turn: Duration,
    /// Messages a second from each publisher.
    pub messages: f64,
    /// Bytes of each.
    pub message_bytes: usize,
    /// Joins a second until everybody is there.
    pub joins: f64,
    /// After that, people a second who leave and are replaced at once.
    pub leaves: f64,
    /// How long is measured, once everybody is there.
    pub length: Duration,
    /// AIC.
    pub aic: Aic,
    /// Sound that is spoken, 48 kHz mono; a made-up voice without it.
    #[serde(skip)]
    pub speech: Option<Vec<f32>>,
    /// Video file that is shown; a test picture without it.
    pub video: Option<PathBuf>,
    /// The server's process, if it is on this machine.
    pub server: Option<u32>,
}

impl Default for Plan {
    /// Two who talk and eight who listen, for half a minute, at a server with the development key.
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:7880".to_owned(),
            authorities: None,
            key: "devkey".to_owned(),
            secret: "secret".to_owned(),
            name: "load".to_owned(),
            room_name: None,
            rooms: 1,
            publishers: 2,
            subscribers: 8,
            publishers_listen: true,
            media: vec![Media::Audio],
            talking: None,
            turn: Duration::from_secs(5),
            messages: 5.0,
            message_bytes: 100,
            joins: 20.0,
            leaves: 0.0,
            length: Duration::from_secs(30),
            aic: Aic::Off,
            speech: None,
            video: None,
            server: None,
        }
    }
}

impl Plan {
    /// Names what cannot be.
    pub fn check(&self) -> Result<(), FieldError> {
        check_name("--name", &self.name)?;
        if let Some(name) = &self.room_name {
            check_name("--room-name", name)?;
        }
        let refuse = |field: &str, problem: String| Err(FieldError::new(field, problem));
        if self.rooms == 0 {
            return refuse("--rooms", "must be at least 1, got 0".to_owned());
        }
        if self.publishers == 0 && (self.room_name.is_none() || self.subscribers == 0) {
            let problem =
                "must be at least 1, got 0: somebody has to send, here or, with --room-name, elsewhere";
            return refuse("--publishers", problem.to_owned());
        }
        let people = self
            .rooms
            .saturating_mul(self.publishers.saturating_add(self.subscribers));
        if people > MAX_PEOPLE {
            let problem = format!("come to {people} people, at most {MAX_PEOPLE} are driven by one process");
            return refuse("--rooms × (--publishers + --subscribers)", problem);
        }
        if self.media.is_empty() {
            return refuse("--media", "must name audio, video or data".to_owned());
        }
        if let Some(talking) = self
            .talking
            .filter(|talking| !(1..=self.publishers).contains(talking))
        {
            let problem = format!("must be 1 to --publishers ({}), got {talking}", self.publishers);
            return refuse("--talking", problem);
        }
        if self.aic != Aic::Off && !self.media.contains(&Media::Audio) {
            return refuse("--aic", "saves on audio, which --media leaves out".to_owned());
        }
        let within = |field: &str, value: f64, (least, most): (f64, f64)| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            refuse(field, format!("must be {least} to {most}, got {value}"))
        };
        within("--turn", self.turn.as_secs_f64(), (0.1, 3600.0))?;
        within("--messages-per-second", self.messages, (0.01, 1000.0))?;
        within(
            "--message-bytes",
            self.message_bytes as f64,
            (MIN_MESSAGE as f64, 15_000.0),
        )?;
        within("--joins-per-second", self.joins, (0.1, 1000.0))?;
        within("--leaves-per-second", self.leaves, (0.0, 1000.0))?;
        within("--duration", self.length.as_secs_f64(), (1.0, 86_400.0))
    }

    /// People in all rooms.
    pub fn people(&self) -> usize {
        self.rooms * (self.publishers + self.subscribers)
    }

    /// Name of the how-manyth room.
    pub fn room(&self, room: usize) -> String {
        format!("{}-{room}", self.room_name.as_ref().unwrap_or(&self.name))
    }

    /// Who of a room talks when.
    pub fn turns(&self) -> Turns {
        Turns {
            of: self.publishers,
            talking: self.talking.unwrap_or(self.publishers),
            turn: self.turn,
        }
    }

    /// Room and number in it of the how-manyth to join: the rooms fill together, publishers first.
    pub fn place(&self, person: usize) -> (usize, usize) {
        (person % self.rooms, person / self.rooms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_the_option_that_asks_for_it() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = Plan::default();
            change(&mut plan);
            plan.check().unwrap_err().field
        };
        assert!(Plan::default().check().is_ok());
        assert_eq!(refused(|plan| plan.name = String::new()), "--name");
        assert_eq!(refused(|plan| plan.rooms = 0), "--rooms");
        assert_eq!(refused(|plan| plan.publishers = 0), "--publishers");
        assert_eq!(
            refused(|plan| plan.room_name = Some(String::new())),
            "--room-name"
        );
        assert!(refused(|plan| plan.subscribers = usize::MAX).contains("--subscribers"));
        assert_eq!(refused(|plan| plan.media.clear()), "--media");
        assert_eq!(refused(|plan| plan.talking = Some(0)), "--talking");
        assert_eq!(refused(|plan| plan.talking = Some(3)), "--talking");
        assert_eq!(
            refused(|plan| (plan.aic, plan.media) = (Aic::Stock, vec![Media::Video])),
            "--aic"
        );
        assert_eq!(refused(|plan| plan.turn = Duration::ZERO), "--turn");
        assert_eq!(refused(|plan| plan.messages = f64::NAN), "--messages-per-second");
        assert_eq!(refused(|plan| plan.message_bytes = 15), "--message-bytes");
        assert_eq!(refused(|plan| plan.joins = 0.0), "--joins-per-second");
        assert_eq!(refused(|plan| plan.leaves = -1.0), "--leaves-per-second");
        assert_eq!(refused(|plan| plan.length = Duration::ZERO), "--duration");
    }

    #[test]
    fn who_only_listens_needs_a_room_where_others_may_send() {
        let mut plan = Plan {
            publishers: 0,
            room_name: Some("shared".to_owned()),
            ..Plan::default()
        };
        plan.check().unwrap();
        assert_eq!(plan.room(3), "shared-3");
        plan.subscribers = 0;
        assert_eq!(plan.check().unwrap_err().field, "--publishers");
        assert_eq!(Plan::default().room(3), "load-3");
    }

    #[test]
    fn rooms_fill_together_and_nobody_listens_before_somebody_sends() {
        let plan = Plan {
            rooms: 3,
            ..Plan::default()
        };
        let places: Vec<_> = (0..plan.people()).map(|person| plan.place(person)).collect();
        assert_eq!(places[..4], [(0, 0), (1, 0), (2, 0), (0, 1)]);
        assert_eq!(places.last(), Some(&(2, 9)));
    }
}
