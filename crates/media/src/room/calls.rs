//! Calls of clients' methods by a tenant's server: asked over the client's data channel, confirmed and answered there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;
use proto::rpc_response::Value as Outcome;

use super::{Cx, Room};
use crate::data::Channel;
use crate::participant::Pid;
use crate::verb::{Answer, Call, CallError, Reply, Trouble};

/// Most of a call's payload in bytes, as LiveKit has it.
const MAX_PAYLOAD: usize = 15 << 10;

/// Within which a client confirms that a call has come, as LiveKit has it.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(7);

/// Most calls of one room that wait for an answer.
const MAX_CALLS: usize = 1_000;

/// Version of the protocol that a call asks for: the answer comes as one packet.
const VERSION: u32 = 1;

/// Calls that wait for an answer, by their ids.
#[derive(Default)]
pub struct Calls(HashMap<String, Waiting>);

struct Waiting {
    whom: Pid,
    reply: Reply,
    /// Until when the client is to confirm; `None` once they have.
    confirm_by: Option<Instant>,
    answer_by: Instant,
}

impl Waiting {
    /// Whoever asked may be gone.
    fn resolve(self, answer: Result<Answer, CallError>) {
        let _ = self.reply.send(answer.map_err(Trouble::Call));
    }
}

impl Room {
    /// Calls a method of somebody's client.
    pub(super) fn call(&mut self, cx: &mut Cx<'_>, pid: Pid, call: Call, reply: Reply) {
        let refused = if call.payload.len() > MAX_PAYLOAD {
            Some(Trouble::Call(CallError::new(CallError::TOO_LONG)))
        } else if self.calls.0.len() >= MAX_CALLS {
            Some(Trouble::TooMany("calls in the room"))
        } else {
            None
        };
        if let Some(trouble) = refused {
            // Whoever asked may be gone.
            let _ = reply.send(Err(trouble));
            return;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let request = proto::RpcRequest {
            id: id.clone(),
            method: call.method,
            payload: call.payload,
            response_timeout_ms: u32::try_from(call.patience.as_millis()).unwrap_or(u32::MAX),
            version: VERSION,
            ..Default::default()
        };
        // The caller is nobody in the room: clients send their answer to the call itself.
        let packet = proto::DataPacket {
            participant_identity: id.clone(),
            value: Some(Value::RpcRequest(request)),
            ..Default::default()
        };
        let waiting = Waiting {
            whom: pid,
            reply,
            confirm_by: Some(cx.now + CONFIRMED_WITHIN),
            answer_by: cx.now + call.patience,
        };
        self.calls.0.insert(id, waiting);
        self.send_data(cx, pid, Channel::Reliable, &packet.encode_to_vec());
        self.settle(cx);
    }

    /// Takes a packet that confirms or answers a call; false for any other.
    pub(super) fn take_answer(&mut self, pid: Pid, bytes: &[u8]) -> bool {
        if self.calls.0.values().all(|call| call.whom != pid) {
            return false;
        }
        match proto::DataPacket::decode(bytes)
            .ok()
            .and_then(|packet| packet.value)
        {
            Some(Value::RpcAck(ack)) => self
                .calls
                .0
                .get_mut(&ack.request_id)
                .filter(|call| call.whom == pid)
                .is_some_and(|call| {
                    call.confirm_by = None;
                    true
                }),
            Some(Value::RpcResponse(response)) => {
                let id = &response.request_id;
                if self.calls.0.get(id).is_none_or(|call| call.whom != pid) {
                    return false;
                }
                if let Some(call) = self.calls.0.remove(id) {
                    call.resolve(outcome(response.value));
                }
                true
            }
            _ => false,
        }
    }

    /// Gives calls up that are overdue, or whose client is gone.
    pub(super) fn give_up_calls(&mut self, now: Instant) {
        let (calls, people) = (&mut self.calls.0, &self.people);
        let overdue = |call: &Waiting| {
            if people.get(call.whom.0).is_none() {
                Some(CallError::GONE)
            } else if call.confirm_by.is_some_and(|due| due <= now) {
                Some(CallError::NOT_CONFIRMED)
            } else {
                (call.answer_by <= now).then_some(CallError::NO_ANSWER)
            }
        };
        for (_, call) in calls.extract_if(|_, call| overdue(call).is_some()) {
            let code = overdue(&call).unwrap_or(CallError::NO_ANSWER);
            call.resolve(Err(CallError::new(code)));
        }
    }
}

fn outcome(value: Option<Outcome>) -> Result<Answer, CallError> {
    match value {
        Some(Outcome::Payload(payload)) => Ok(Answer::Payload(payload)),
        Some(Outcome::Error(error)) => Err(CallError {
            code: error.code,
            message: if error.data.is_empty() {
                error.message
            } else {
                format!("{}: {}", error.message, error.data)
            },
        }),
        _ => Err(CallError {
            code: CallError::NO_ANSWER,
            message: "the answer came in a form that was not asked for".into(),
        }),
    }
}
