//! Outbox: in order per subject, leased, retried, given up, replayed.

use std::time::{Duration, Instant};

use auralink_store::{
    Announcement, Delivery, DeliveryQuery, DeliveryState, ENDPOINTS_MAX, EndpointChange, NewEndpoint,
    OUTBOX_MAX, StoreError, Timestamp,
};
use serde_json::json;

use crate::people::{operator, user};
use crate::support::{Db, at, both};

both! {
    deliveries_come_in_order_per_subject_and_subjects_do_not_wait_for_each_other,
    two_dispatchers_never_hold_the_same_delivery,
    a_lease_that_ran_out_is_taken_by_another_and_the_first_is_told,
    what_is_given_up_is_counted_and_lets_the_next_go_on,
    deliveries_are_sent_again_on_request_in_their_order,
    endpoints_are_an_operators_affair_and_have_a_bound,
    an_endpoint_that_went_takes_its_deliveries_along,
    a_disabled_endpoint_with_a_full_outbox_costs_a_look_next_to_nothing,
    a_dead_endpoint_fills_its_outbox_to_the_bound_and_is_told_of_its_losses_when_it_lives_again,
    an_event_that_nobody_wants_does_not_stay,
    a_disabled_endpoint_is_given_nothing_that_waits_until_it_is_enabled_again,
}

const LEASE: Duration = Duration::from_secs(30);

async fn endpoint(db: &Db, events: &[&str]) -> String {
    let new = NewEndpoint {
        url: "https://example.com".into(),
        signing_key: "one".into(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        enabled: true,
    };
    let made = operator(&db.store, "one")
        .create_endpoint(&new, at(0))
        .await
        .unwrap();
    made.endpoint_id
}

async fn announce(db: &Db, subject: &str, number: i64) {
    let announcement = Announcement {
        tenant: "one".into(),
        user: None,
        subject: subject.into(),
        event: "room_started".into(),
        payload: json!({ "number": number }),
        at: at(number),
    };
    db.store.announce(&announcement).await.unwrap();
}

async fn claim(db: &Db, now: Timestamp) -> Vec<Delivery> {
    db.store.claim_deliveries(now, LEASE, 10).await.unwrap()
}

fn told(deliveries: &[Delivery]) -> Vec<String> {
    let told = |delivery: &Delivery| format!("{} {}", delivery.subject, delivery.payload);
    deliveries.iter().map(told).collect()
}

async fn deliveries_come_in_order_per_subject_and_subjects_do_not_wait_for_each_other(db: Db) {
    endpoint(&db, &[]).await;
    for (subject, number) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
        announce(&db, subject, number).await;
    }
    let first = claim(&db, at(10)).await;
    assert_eq!(told(&first), [r#"a {"number":1}"#, r#"b {"number":3}"#]);
    assert_eq!(
        claim(&db, at(11)).await,
        [],
        "the next of a waits for the first, which is leased"
    );
    // The first of `a` fails and keeps its place.
    assert!(
        db.store
            .delivery_failed(&first[0], "503", Some(at(20)))
            .await
            .unwrap()
    );
    assert!(db.store.delivered(&first[1], at(12)).await.unwrap());
    assert_eq!(claim(&db, at(19)).await, []);
    let again = claim(&db, at(20)).await;
    assert_eq!(told(&again), [r#"a {"number":1}"#]);
    assert_eq!((again[0].attempts, again[0].event_id), (2, first[0].event_id));
    assert!(db.store.delivered(&again[0], at(21)).await.unwrap());
    assert_eq!(told(&claim(&db, at(22)).await), [r#"a {"number":2}"#]);
}

async fn two_dispatchers_never_hold_the_same_delivery(db: Db) {
    endpoint(&db, &[]).await;
    for number in 0..20 {
        announce(&db, &format!("subject {number}"), number).await;
    }
    let claim = || db.store.claim_deliveries(at(30), LEASE, 20);
    let (a, b, c) = tokio::join!(claim(), claim(), claim());
    let mut ids: Vec<_> = [a, b, c]
        .into_iter()
        .flat_map(|claimed| claimed.unwrap())
        .map(|delivery| delivery.delivery_id)
        .collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!((count, ids.len()), (20, 20));
}

async fn a_lease_that_ran_out_is_taken_by_another_and_the_first_is_told(db: Db) {
    endpoint(&db, &[]).await;
    announce(&db, "a", 1).await;
    let slow = claim(&db, at(1)).await.remove(0);
    let quick = claim(&db, at(1).plus(LEASE)).await.remove(0);
    assert_eq!(slow.delivery_id, quick.delivery_id);
    assert!(!db.store.delivered(&slow, at(40)).await.unwrap());
    assert!(!db.store.delivery_failed(&slow, "late", None).await.unwrap());
    assert!(db.store.delivered(&quick, at(41)).await.unwrap());
}

async fn a_disabled_endpoint_is_given_nothing_that_waits_until_it_is_enabled_again(db: Db) {
    let id = endpoint(&db, &[]).await;
    announce(&db, "a", 1).await;
    let first = claim(&db, at(1)).await.remove(0);
    announce(&db, "a", 2).await;
    let boss = operator(&db.store, "one");
    let enabled = async |enabled: bool| {
        let change = EndpointChange {
            enabled: Some(enabled),
            ..EndpointChange::default()
        };
        boss.update_endpoint(&id, &change, at(2)).await.unwrap();
    };
    assert!(db.store.delivered(&first, at(2)).await.unwrap());
    announce(&db, "a", 3).await;
    enabled(false).await;
    boss.replay_since(&id, at(0), at(3)).await.unwrap();
    boss.replay(first.delivery_id, at(3)).await.unwrap();
    assert_eq!(claim(&db, at(1000)).await, []);
    enabled(true).await;
    assert_eq!(told(&claim(&db, at(1000)).await), [r#"a {"number":1}"#]);
}

async fn what_is_given_up_is_counted_and_lets_the_next_go_on(db: Db) {
    let id = endpoint(&db, &[]).await;
    announce(&db, "a", 1).await;
    announce(&db, "a", 2).await;
    let first = claim(&db, at(1)).await.remove(0);
    assert!(db.store.delivery_failed(&first, "410 Gone", None).await.unwrap());
    assert_eq!(told(&claim(&db, at(2)).await), [r#"a {"number":2}"#]);
    let endpoint = operator(&db.store, "one").endpoint(&id).await.unwrap();
    assert_eq!((endpoint.lost, endpoint.pending, endpoint.dropped), (1, 1, 0));
}

async fn deliveries_are_sent_again_on_request_in_their_order(db: Db) {
    let id = endpoint(&db, &[]).await;
    for number in 1..=3 {
        announce(&db, "a", number).await;
        let delivery = claim(&db, at(number)).await.remove(0);
        assert!(db.store.delivered(&delivery, at(number)).await.unwrap());
    }
    let boss = operator(&db.store, "one");
    let query = DeliveryQuery {
        endpoint_id: Some(id.clone()),
        state: Some(DeliveryState::Delivered),
        limit: 2,
        ..DeliveryQuery::default()
    };
    let page = boss.deliveries(&query).await.unwrap();
    assert_eq!(page.rows.len(), 2);
    let next = DeliveryQuery {
        cursor: page.next,
        ..query
    };
    assert_eq!(boss.deliveries(&next).await.unwrap().rows.len(), 1);

    assert_eq!(boss.replay_since(&id, at(2), at(50)).await.unwrap(), 2);
    for number in [2, 3] {
        let again = claim(&db, at(50)).await;
        assert_eq!(told(&again), [format!(r#"a {{"number":{number}}}"#)]);
        assert!(db.store.delivered(&again[0], at(51)).await.unwrap());
    }
    let one = page.rows[0].delivery_id;
    boss.replay(one, at(60)).await.unwrap();
    assert_eq!(claim(&db, at(60)).await[0].delivery_id, one);
    assert!(matches!(
        operator(&db.store, "two").replay(one, at(61)).await,
        Err(StoreError::Missing { .. })
    ));
}

async fn endpoints_are_an_operators_affair_and_have_a_bound(db: Db) {
    let id = endpoint(&db, &["aic.*"]).await;
    announce(&db, "a", 1).await;
    assert_eq!(claim(&db, at(2)).await, [], "it wants none of these");
    let ada = user(&db.store, "one", "ada");
    assert!(matches!(ada.endpoints().await, Err(StoreError::OperatorOnly)));
    assert!(matches!(
        ada.delete_endpoint(&id, at(2)).await,
        Err(StoreError::OperatorOnly)
    ));
    let other = operator(&db.store, "two");
    assert_eq!(other.endpoints().await.unwrap(), []);
    let off = EndpointChange {
        enabled: Some(false),
        ..EndpointChange::default()
    };
    assert!(matches!(
        other.update_endpoint(&id, &off, at(2)).await,
        Err(StoreError::Missing { .. })
    ));
    let boss = operator(&db.store, "one");
    let changed = boss.update_endpoint(&id, &off, at(3)).await.unwrap();
    assert!(!changed.enabled && changed.events == ["aic.*"] && changed.updated_at == at(3));
    let new = |number: usize| NewEndpoint {
        url: format!("https://example.com/{number}"),
        signing_key: "one".into(),
        events: vec![],
        enabled: true,
    };
    for number in 1..ENDPOINTS_MAX {
        boss.create_endpoint(&new(number), at(4)).await.unwrap();
    }
    assert!(matches!(
        boss.create_endpoint(&new(ENDPOINTS_MAX), at(4)).await,
        Err(StoreError::Full {
            most: ENDPOINTS_MAX,
            ..
        })
    ));
    let bad = NewEndpoint {
        url: String::new(),
        ..new(0)
    };
    let Err(StoreError::Invalid(error)) = other.create_endpoint(&bad, at(4)).await else {
        panic!("an empty URL was stored");
    };
    assert_eq!(error.field, "url");
}

async fn an_endpoint_that_went_takes_its_deliveries_along(db: Db) {
    let id = endpoint(&db, &[]).await;
    announce(&db, "a", 1).await;
    let held = claim(&db, at(1)).await.remove(0);
    let boss = operator(&db.store, "one");
    boss.delete_endpoint(&id, at(2)).await.unwrap();
    assert!(!db.store.delivered(&held, at(3)).await.unwrap());
    assert!(matches!(
        boss.endpoint(&id).await,
        Err(StoreError::Missing { what: "endpoint" })
    ));
    assert_eq!(db.number("SELECT count(*) FROM webhook_deliveries").await, 0);
}

/// What waits for an endpoint that has not answered for long: one event more than given, in one order.
async fn long_dead(db: &Db, id: &str, waiting: u64) {
    announce(db, "old", 0).await;
    let first = claim(db, at(0)).await.remove(0);
    assert!(
        db.store
            .delivery_failed(&first, "503", Some(at(0)))
            .await
            .unwrap()
    );
    let rows = format!(
        "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {waiting}) \
         INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event_id, subject, state, created_at_us, \
         next_attempt_at_us) SELECT 'one', '{id}', {}, 'old', 'pending', 0, 0 FROM numbers",
        first.event_id
    );
    db.run(&rows).await.unwrap();
}

async fn a_dead_endpoint_fills_its_outbox_to_the_bound_and_is_told_of_its_losses_when_it_lives_again(db: Db) {
    let id = endpoint(&db, &[]).await;
    // Room for one more.
    long_dead(&db, &id, OUTBOX_MAX - 2).await;
    for number in 1..=4 {
        announce(&db, "new", number).await;
    }
    let waiting = claim(&db, at(5)).await;
    assert_eq!(told(&waiting), [r#"old {"number":0}"#, r#"new {"number":1}"#]);
    let dead = operator(&db.store, "one").endpoint(&id).await.unwrap();
    assert_eq!((dead.pending, dead.dropped, dead.lost), (OUTBOX_MAX, 3, 0));
    assert_eq!(
        db.number("SELECT count(*) FROM webhook_events").await,
        2,
        "what was dropped is kept for nobody"
    );
    assert_eq!(waiting[0].dropped, 3);
    assert!(db.store.delivered(&waiting[0], at(6)).await.unwrap());
    assert_eq!(claim(&db, at(7)).await[0].dropped, 0, "once told, not told again");
}

async fn a_disabled_endpoint_with_a_full_outbox_costs_a_look_next_to_nothing(db: Db) {
    let id = endpoint(&db, &[]).await;
    long_dead(&db, &id, OUTBOX_MAX - 1).await;
    assert_eq!(db.store.deliveries_waiting().await.unwrap(), OUTBOX_MAX);
    let change = EndpointChange {
        enabled: Some(false),
        ..EndpointChange::default()
    };
    let boss = operator(&db.store, "one");
    boss.update_endpoint(&id, &change, at(2)).await.unwrap();
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(claim(&db, at(10_000_000_000)).await, []);
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < Duration::from_millis(10), "{quickest:?}");
}

async fn an_event_that_nobody_wants_does_not_stay(db: Db) {
    endpoint(&db, &["aic.*"]).await;
    announce(&db, "a", 1).await;
    assert_eq!(claim(&db, at(2)).await, []);
    assert_eq!(db.number("SELECT count(*) FROM webhook_events").await, 0);
}
