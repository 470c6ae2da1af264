//! One signed publish and one verification, with both of jsonwebtoken's crypto backends switched on.

use std::time::SystemTime;

use axum_eventstream::grip::{GripConfig, InvalidSignature, Item, Publisher, Verifier};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// Accepts one request and returns its `Authorization`.
async fn authorization_of_one_request(listener: TcpListener) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut authorization = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.strip_prefix("authorization: ") {
            authorization = value.trim_end().to_owned();
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    authorization
}

#[tokio::test]
async fn a_signed_publish_and_a_verification_work() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = GripConfig::new(format!("http://{}", listener.local_addr().unwrap()));
    config.control_iss = Some("realm".into());
    config.key = Some("changeme".into());
    let publisher = Publisher::new([config]).unwrap();

    let server = tokio::spawn(authorization_of_one_request(listener));
    publisher
        .publish(Item::stream("test", "data: x\n\n"))
        .await
        .unwrap();
    let authorization = server.await.unwrap();
    let token = authorization.strip_prefix("Bearer ").unwrap();

    let now = SystemTime::now();
    assert_eq!(publisher.verify(token, now), Ok(true));
    let other = Verifier::new(&"other".into()).unwrap();
    assert_eq!(other.verify(token, now), Err(InvalidSignature::Mismatch));
}

/// Checks the precondition of the test above.
#[test]
#[should_panic(expected = "CryptoProvider")]
fn both_backends_are_switched_on() {
    let key = jsonwebtoken::EncodingKey::from_secret(b"changeme");
    let _ = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &(), &key);
}
