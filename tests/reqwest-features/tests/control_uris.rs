//! Publishing with TLS in reqwest that works, and that does not.
//!
//! Tests that are ignored run in processes of their own, since a process reads once where its CA files are.

use std::path::Path;
use std::process::Command;

use axum_eventstream::{Event, EventStream};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const MISSING: &str = "/nonexistent/ca.pem";

/// Runs an ignored test with these CA files and no others.
fn passes_with_ca_files(test: &str, file: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--ignored", "--nocapture"]);
    child.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Takes one request, and gives back its body.
async fn body_of_one_request(stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim_end().parse().unwrap();
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    stream.flush().await.unwrap();
    String::from_utf8(body).unwrap()
}

async fn publish(uri: &str) {
    let es = EventStream::builder().grip(uri).build().unwrap();
    let event = Event::text("message", "hello").unwrap();
    es.publish_event("test", event).await.unwrap();
}

#[test]
fn an_http_control_uri_needs_neither_a_crypto_provider_nor_ca_files() {
    passes_with_ca_files("publishes_to_http", Path::new(MISSING));
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn publishes_to_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let server =
        tokio::spawn(async move { body_of_one_request(listener.accept().await.unwrap().0).await });
    publish(&uri).await;
    let body = server.await.unwrap();
    assert!(body.contains(r"event: message\ndata: hello\n\n"), "{body}");
}

/// Without this, the test above would prove nothing.
#[cfg(feature = "no-provider")]
#[test]
#[should_panic(expected = "No rustls crypto provider")]
fn reqwest_has_no_crypto_provider() {
    let _ = reqwest::Client::builder().build();
}

#[cfg(feature = "https")]
mod https {
    use super::*;
    use std::sync::Arc;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

    const CA: &str = "ca.pem";

    #[test]
    fn without_ca_files_an_https_control_uri_is_an_error_of_build() {
        passes_with_ca_files("https::build_fails", Path::new(MISSING));
    }

    #[test]
    #[ignore = "runs in a process of its own"]
    fn build_fails() {
        // Without this, the test of `http` would prove nothing.
        assert!(reqwest::Client::builder().build().is_err());
        let uris = "http://127.0.0.1:9 https://127.0.0.1:9/base?token=hush";
        let error = EventStream::builder().grip(uris).build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "GRIP control URI `https://127.0.0.1:9/base`: the HTTP client: \
             unexpected error: No CA certificates were loaded from the system"
        );
    }

    #[test]
    fn an_https_control_uri_is_published_to_over_tls() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(folder.path().join(CA), made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_der();
        std::fs::write(folder.path().join("cert.der"), made.cert.der()).unwrap();
        std::fs::write(folder.path().join("key.der"), key).unwrap();
        passes_with_ca_files("https::publishes_to_https", &folder.path().join(CA));
    }

    fn acceptor(folder: &Path) -> TlsAcceptor {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(read("key.der")));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![read("cert.der").into()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    #[tokio::test]
    #[ignore = "runs in a process of its own"]
    async fn publishes_to_https() {
        let ca = std::env::var_os("SSL_CERT_FILE").unwrap();
        let acceptor = acceptor(Path::new(&ca).parent().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("https://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            body_of_one_request(acceptor.accept(stream).await.unwrap()).await
        });
        publish(&uri).await;
        let body = server.await.unwrap();
        assert!(body.contains(r"event: message\ndata: hello\n\n"), "{body}");
    }
}
