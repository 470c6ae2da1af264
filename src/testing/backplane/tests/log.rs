//! Faults of a log.

use super::*;
use crate::backplane::FailureKind::{Refused, Unavailable};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_read_is_blocked_after_a_wipe_until_the_next_attach() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    let last = client.append(1, &["a"]).await.unwrap().last;
    memory.wipe();
    assert_eq!((memory.head(), memory.entries()), (None, 0));
    assert_eq!(client.read().await.unwrap(), []);
    let read = tokio::spawn(async move { client.reader.read(last).await });
    sleep(SECOND).await;
    assert!(!read.is_finished());
    let attached = Client::join(&memory).await.attached;
    assert_eq!(cause(&attached), Some("absent"));
    assert!(attached.last > last);
    let entries = read.await.unwrap().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].sequence, attached.last);
    assert_eq!(entries[0].content, Content::NewEpoch);
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_undoes_its_appends() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    client.append(1, &["a", "b"]).await.unwrap();
    let last = client.append(3, &["c", "d"]).await.unwrap().last;
    let entries = client.read().await.unwrap();
    memory.lose_tail(3);
    let head = memory.head().unwrap();
    assert_eq!((head.epoch, head.last), (client.attached.epoch, last - 3));
    assert_eq!(client.append(2, &["b2"]).await.unwrap().added, 1);
    assert_eq!(texts(&client.read().await.unwrap()), [&b"a"[..], b"b2"]);
    // Both servers have the first entry, and only the lost one has the second under this mark.
    assert_eq!(cause(&client.attach_at(&entries[0]).await), None);
    assert_eq!(cause(&client.attach_at(&entries[1]).await), Some("term"));
}

#[tokio::test(start_paused = true)]
async fn two_masters_give_the_same_entry_different_marks() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    client.append(1, &["a"]).await.unwrap();
    let fork = memory.fork();
    let mut forked = Client::join(&fork).await;
    forked.attached.last = client.attached.last;
    for (client, text) in [(&client, "b"), (&forked, "b")] {
        client.append(2, &[text]).await.unwrap();
    }
    let entries = client.read().await.unwrap();
    let others = forked.read().await.unwrap();
    assert_eq!(entries[0], others[0]);
    assert_eq!(entries[1].sequence, others[1].sequence);
    assert_ne!(entries[1].mark, others[1].mark);

    memory.switch(&fork);
    assert_eq!(kind(client.read().await), Some(Unavailable));
    let client = Client::join(&memory).await;
    assert_eq!(cause(&client.attach_at(&entries[0]).await), None);
    assert_eq!(cause(&client.attach_at(&others[1]).await), None);
    assert_eq!(cause(&client.attach_at(&entries[1]).await), Some("term"));
    assert_eq!(memory.head(), fork.head());
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_log_has_only_its_newest_entries() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    let last = client.append(1, &["a", "b", "c"]).await.unwrap().last;
    memory.trim(2);
    assert_eq!(texts(&client.read().await.unwrap()), [b"b", b"c"]);
    memory.trim(0);
    assert_eq!(memory.entries(), 0);
    let attached = Client::join(&memory).await.attached;
    assert_eq!((attached.first, attached.last), (None, last));
    assert_eq!(client.append(4, &["d"]).await.unwrap().last, last + 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_drops_its_oldest_entries_above_its_limit() {
    let memory = Memory::with_max_entries(2);
    let mut client = Client::join(&memory).await;
    client.append(1, &["a", "b", "c"]).await.unwrap();
    assert_eq!(memory.entries(), 2);
    assert_eq!(texts(&client.read().await.unwrap()), [b"b", b"c"]);
}

#[tokio::test(start_paused = true)]
async fn forged_and_foreign_entries_are_in_the_log() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    let read = tokio::spawn(async move { (client.read().await, client) });
    sleep(SECOND).await;
    memory.forge("", "bad");
    let (entries, mut client) = read.await.unwrap();
    assert_eq!(texts(&entries.unwrap()), [b"bad"]);
    memory.foreign();
    let last = client.append(1, &["a"]).await.unwrap().last;
    let entries = client.read().await.unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1].content, Content::Foreign);
    assert_eq!(entries[2].sequence, last);
    assert_eq!(cause(&client.attach_at(&entries[1]).await), None);
}

#[tokio::test(start_paused = true)]
async fn a_full_log_refuses_appends() {
    let memory = Memory::new();
    let client = Client::join(&memory).await;
    memory.full(true);
    assert_eq!(kind(client.append(1, &["a"]).await), Some(Refused));
    assert_eq!(memory.entries(), 1);
    memory.full(false);
    assert_eq!(client.append(1, &["a"]).await.unwrap().added, 1);
}
