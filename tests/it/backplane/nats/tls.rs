//! Connections with TLS.

use super::*;
use crate::support::{alone, certificate};
use std::{env, path::Path};

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_server_with_tls_must_have_a_trusted_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, other) = (folder.path().join("trusted"), folder.path().join("other"));
    for path in [&trusted, &other] {
        certificate::write(path);
    }
    let name = "backplane::nats::tls::a_server_with_tls_must_have_a_trusted_certificate";
    let certificate = trusted.with_extension("pem");
    if alone::has_run_with(name, &[(certificate::TRUSTED, &certificate)]) {
        return;
    }
    let trusted = env::var_os(certificate::TRUSTED).unwrap();
    let trusted = Path::new(&trusted).with_extension("");

    // A server that demands TLS gets it with both schemes.
    let server = with_certificate(&trusted).await;
    for scheme in ["tls", "nats"] {
        let nats = Nats::new(format!("{scheme}://app:secret@localhost:{}", server.port()));
        let mut instance = Instance::of(&nats).await;
        instance.append(&[scheme]).await.unwrap();
        assert_eq!(
            payloads(&instance.read().await.unwrap()).last(),
            Some(&scheme)
        );
    }

    let server = with_certificate(&other).await;
    let nats = Nats::new(format!("tls://app:secret@localhost:{}", server.port()));
    let failure = nats.connect().await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    assert!(failure.to_string().contains("certificate"), "{failure}");
}

async fn with_certificate(path: &Path) -> NatsServer {
    NatsServer::with(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\nauthorization {{ user: app, password: secret }}",
        path.with_extension("pem"),
        path.with_extension("key")
    ))
    .await
}
