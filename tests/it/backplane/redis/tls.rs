//! Connections with TLS.

use super::*;
use crate::support::{alone, certificate, redis::RedisServer, server::free_port};
use std::{env, path::Path};

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_server_with_tls_must_have_a_trusted_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, other) = (folder.path().join("trusted"), folder.path().join("other"));
    for path in [&trusted, &other] {
        certificate::write(path);
    }
    let name = "backplane::redis::tls::a_server_with_tls_must_have_a_trusted_certificate";
    let certificate = trusted.with_extension("pem");
    if alone::has_run_with(name, &[(certificate::TRUSTED, &certificate)]) {
        return;
    }
    let trusted = env::var_os(certificate::TRUSTED).unwrap();
    let trusted = Path::new(&trusted).with_extension("");

    let (_server, redis) = with_certificate(&trusted).await;
    let mut instance = Instance::of(&redis).await;
    instance.append(&["a"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["a"]);

    let (_server, redis) = with_certificate(&other).await;
    let failure = redis.connect().await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    assert!(failure.to_string().contains("certificate"), "{failure}");
}

async fn with_certificate(path: &Path) -> (RedisServer, Redis) {
    let port = free_port();
    let certificate = path.with_extension("pem").display().to_string();
    let server = RedisServer::with(&format!(
        "save ''\ntls-port {port}\ntls-auth-clients no\ntls-cert-file {certificate}\n\
         tls-ca-cert-file {certificate}\ntls-key-file {}",
        path.with_extension("key").display()
    ))
    .await;
    (server, Redis::new(format!("rediss://localhost:{port}")))
}
