//! Users, passwords and rights.

use super::*;
use crate::support::redis::RedisServer;

/// The rights that the documentation names.
const RIGHTS: &str = "~{eventstream}:* -@all +evalsha +eval +expire +hmget +hset +hlen +hgetall +hdel +time +unlink \
    +xadd +xrange +xrevrange +xread +info";

fn url(server: &RedisServer, user: &str, password: &str) -> String {
    format!("redis://{user}:{password}@127.0.0.1:{}", server.port())
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_user_with_the_documented_rights_can_do_everything() {
    let server = RedisServer::start().await;
    server.command(&format!("ACL SETUSER app on >p%40ss {RIGHTS}"));
    let redis = Redis::new(url(&server, "app", "p%2540ss"));
    let mut instance = Instance::of(&redis).await;
    instance.append(&["a"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["a"]);
    instance.writer.head().await.unwrap();

    // Many publishers, of which the oldest are forgotten.
    for origin in 0..70 {
        let known = Known::nothing(Origin::new(origin), 1);
        instance.writer.attach(&known).await.unwrap();
        server.command(&format!("HSET {{eventstream}}:meta p{origin:016x} 1:1:1"));
    }
    let attached = instance.attach().await.unwrap();
    assert_eq!(attached.cause, None);
    assert!(attached.mark.len() == "?:01234567".len());
    let publishers = server.command("HLEN {eventstream}:meta");
    assert!(publishers.parse::<usize>().unwrap() < 64, "{publishers}");

    // A new epoch, in the place of keys that exist.
    server.command("HDEL {eventstream}:meta e");
    assert!(instance.attach().await.unwrap().cause.is_some());
    instance.append(&["b"]).await.unwrap();
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_missing_right_is_refused() {
    let server = RedisServer::start().await;
    server.command(&format!("ACL SETUSER app on >secret {RIGHTS} -xadd"));
    let redis = Redis::new(url(&server, "app", "secret"));
    let (writer, _reader) = redis.connect().await.unwrap();
    let known = Known::nothing(Origin::new(1), 1);
    let failure = writer.attach(&known).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    let text = failure.to_string();
    assert!(
        text.contains("rights") && !text.contains("secret"),
        "{text}"
    );

    server.command("ACL SETUSER app -hmget");
    let failure = writer.head().await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert!(failure.to_string().contains("'hmget'"), "{failure}");
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn without_the_right_to_info_there_are_no_terms() {
    let server = RedisServer::start().await;
    server.command(&format!("ACL SETUSER app on >secret {RIGHTS} -info"));
    let mut instance = Instance::of(&Redis::new(url(&server, "app", "secret"))).await;
    instance.append(&["a"]).await.unwrap();
    instance.read().await.unwrap();
    let attached = instance.attach().await.unwrap();
    assert_eq!((attached.cause, &*attached.mark), (None, b"?:x".as_slice()));
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_wrong_password_is_refused_and_not_shown() {
    let server = RedisServer::start().await;
    server.command("ACL SETUSER app on >secret +@all ~*");
    server.command("ACL SETUSER default off");
    for (user, password, code) in [("app", "wrong-one", "WRONGPASS"), ("", "", "NOAUTH")] {
        let redis = match user {
            "" => Redis::new(server.url()),
            _ => Redis::new(url(&server, user, password)),
        };
        let failure = redis.connect().await.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Refused);
        let text = format!("{failure} {failure:?} {redis:?} {}", redis.name());
        assert!(text.contains(code) && !text.contains("wrong-one"), "{text}");
    }
    Redis::new(url(&server, "app", "secret"))
        .connect()
        .await
        .unwrap();
}
