//! A tenant's own server, as far as it asks things of rooms.

use auralink_token::{Claims, VideoGrants};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Server;

/// What may rule the room of all tests, and create and list others.
pub fn operator() -> VideoGrants {
    VideoGrants {
        room_create: true,
        room_list: true,
        room_admin: true,
        room: "room".into(),
        ..VideoGrants::default()
    }
}

impl Server {
    /// A token of a server's own.
    pub fn pass(&self, video: VideoGrants) -> String {
        self.token(&Claims {
            video,
            ..Claims::default()
        })
    }

    /// Status, head and body of an answer; the head's lines end in `\r\n`.
    pub async fn request(&self, line: &str, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // A server that has read enough may close before everything is written.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }

    /// Asks RoomService in JSON with a token of these rights.
    pub async fn ask_as(&self, video: VideoGrants, method: &str, asked: Value) -> (u16, Value) {
        let head = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
            self.pass(video)
        );
        let line = format!("POST /twirp/livekit.RoomService/{method}");
        let (status, head, body) = self.request(&line, &head, asked.to_string().as_bytes()).await;
        assert!(
            head.to_lowercase().contains("content-type: application/json"),
            "{head}"
        );
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Asks RoomService as its operator what it has to answer.
    pub async fn ask(&self, method: &str, asked: Value) -> Value {
        let (status, answer) = self.ask_as(operator(), method, asked).await;
        assert_eq!(status, 200, "{method}: {answer}");
        answer
    }

    /// Code of the error that the operator gets.
    pub async fn refusal(&self, method: &str, asked: Value) -> (u16, String) {
        let (status, answer) = self.ask_as(operator(), method, asked).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }
}
