//! Clients that mean no good, over real sockets.
#![allow(clippy::unwrap_used)]

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn start(limits: Limits) -> Running {
    let routes = Router::new()
        .route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route(
            "/body",
            post(|body: String| async move { body.len().to_string() }),
        )
        .route("/refused", post(|| async { StatusCode::FORBIDDEN }))
        .route(
            "/ws",
            get(|upgrade: WebSocketUpgrade| async {
                upgrade.on_upgrade(|mut socket| async move {
                    while let Some(Ok(Message::Text(text))) = socket.recv().await {
                        if socket.send(Message::Text(text)).await.is_err() {
                            return;
                        }
                    }
                })
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async move {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(
        listener,
        None,
        routes,
        limits,
        stopped,
        Duration::from_millis(200),
    ));
    Running {
        address,
        stop: Some(stop),
        task,
    }
}

/// Limits short enough for tests.
fn short() -> Limits {
    Limits {
        connections: 2,
        head: Duration::from_millis(200),
        answer: Duration::from_secs(1),
        head_bytes: 128 << 10,
    }
}

/// Sends a text one byte at a time until the server has hung up; resolves to what it said before.
async fn dribble(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let read = async {
        // A reset is a way of hanging up as well.
        let _ = reader.read_to_end(&mut answer).await;
    };
    let write = async {
        for byte in text.bytes().cycle() {
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! { () = read => {}, () = write => {} }
    })
    .await
    .expect("the server waits for ever");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = [0; 2048];
    let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

const PLAIN: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_client_that_dribbles_its_head_is_cut_off() {
    let server = start(short()).await;
    let answer = dribble(
        server.address,
        "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    )
    .await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off_and_makes_room_for_others() {
    let server = start(short()).await;
    let mut silent = Vec::new();
    for _ in 0..short().connections {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut honest = TcpStream::connect(server.address).await.unwrap();
    let answer = ask(&mut honest, PLAIN).await;
    assert!(
        answer.contains("200 OK") && answer.ends_with("127.0.0.1"),
        "{answer}"
    );
    for stream in &mut silent {
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 256]))
            .await
            .unwrap();
        assert!(
            matches!(end, Ok(0) | Err(_)),
            "the silent one is still there: {end:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_dribbles_its_body_is_told_that_it_took_too_long() {
    let server = start(short()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab";
    let answer = ask(&mut stream, head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_refused_request_with_a_small_body_leaves_the_connection_to_the_next() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for head in [
        "Content-Length: 9\r\n\r\n123456789",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let answer = ask(
            &mut stream,
            &format!("POST /refused HTTP/1.1\r\nHost: x\r\n{head}"),
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 403") && !answer.contains("connection: close"),
            "{answer}"
        );
        let next = ask(&mut stream, PLAIN).await;
        assert!(next.contains("200 OK") && next.ends_with("127.0.0.1"), "{next}");
    }
}

#[tokio::test]
async fn a_refused_request_whose_body_is_long_or_does_not_come_is_told_that_the_connection_ends() {
    let server = start(Limits::default()).await;
    for (head, body) in [
        ("Content-Length: 5000000", vec![b'x'; 5_000_000]),
        ("Content-Length: 9", b"123".to_vec()),
        // Asked to go on, it would send what nobody wants.
        ("Expect: 100-continue\r\nContent-Length: 9", Vec::new()),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("POST /refused HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        // All of it can be written and the answer read: nothing is reset.
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(300 << 10));
    // The server may hang up before all of it is written.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(60 << 10));
    assert!(ask(&mut stream, &request).await.contains("200 OK"));
}

#[tokio::test]
async fn a_web_socket_outlives_the_time_limits_of_requests() {
    let server = start(short()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert!(ask(&mut stream, upgrade).await.starts_with("HTTP/1.1 101"));
    tokio::time::sleep(3 * short().head).await;
    // A masked text frame with "hi" (RFC 6455 section 5.7), masked with zeros.
    stream
        .write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'])
        .await
        .unwrap();
    let mut echo = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut echo))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(echo, [0x81, 2, b'h', b'i']);
}

#[tokio::test]
async fn a_server_that_stops_ends_although_a_client_holds_on() {
    let mut server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert!(ask(&mut stream, PLAIN).await.contains("200 OK"));
    let _half = {
        let mut half = TcpStream::connect(server.address).await.unwrap();
        half.write_all(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na")
            .await
            .unwrap();
        half
    };
    server.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(PATIENCE, server.task)
        .await
        .expect("it ends")
        .unwrap();
}
