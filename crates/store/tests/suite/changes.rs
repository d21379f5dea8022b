//! What other servers have changed is seen by its revision.

use auralink_store::{NewExperiment, Revision};
use auralink_types::experiment::{Arm, Unit};
use auralink_types::{ConfigChange, UserKey};

use crate::people::{enable, operator, user};
use crate::support::{Db, at, both};

both! {
    what_another_server_has_changed_is_told_once,
    a_change_that_was_taken_back_is_not_told,
    an_erased_user_is_told_without_a_name_and_a_new_configuration_of_hers_after_it,
}

fn opt_out() -> ConfigChange {
    ConfigChange {
        opt_out: Some(true),
        ..ConfigChange::default()
    }
}

async fn what_another_server_has_changed_is_told_once(db: Db) {
    let before = db.store.revision().await.unwrap();
    assert_eq!(before, Revision::default());
    let ada = user(&db.store, "one", "ada");
    ada.change_config(&enable()).await.unwrap();
    user(&db.store, "two", "bob")
        .change_config(&opt_out())
        .await
        .unwrap();
    let changes = db.store.changes_since(before).await.unwrap();
    assert!(changes.revision > before && !changes.experiments && !changes.has_erasures());
    let mut told: Vec<_> = changes
        .configs
        .iter()
        .map(|(user, config)| (user.clone(), config.enabled, config.opt_out))
        .collect();
    told.sort();
    let [one, two] = [UserKey::new("one", "ada"), UserKey::new("two", "bob")];
    assert_eq!(told, [(one, true, false), (two, false, true)]);

    let seen = changes.revision;
    assert_eq!(db.store.revision().await.unwrap(), seen);
    assert!(db.store.changes_since(seen).await.unwrap().configs.is_empty());
    // The same again is no change.
    ada.change_config(&enable()).await.unwrap();
    assert_eq!(db.store.revision().await.unwrap(), seen);
    ada.change_config(&opt_out()).await.unwrap();
    let changes = db.store.changes_since(seen).await.unwrap();
    assert_eq!(changes.configs.len(), 1);
    assert!(changes.configs[0].1.opt_out);

    let boss = operator(&db.store, "one");
    let arm = |name: &str, control| Arm {
        name: name.into(),
        weight: 1,
        control,
        change: ConfigChange::default(),
    };
    let new = NewExperiment {
        name: "x".into(),
        unit: Unit::User,
        arms: vec![arm("a", true), arm("b", false)],
        primary: String::new(),
    };
    let made = boss.create_experiment(&new, at(0)).await.unwrap();
    let started = db.store.changes_since(changes.revision).await.unwrap();
    assert!(started.experiments && started.configs.is_empty());
    boss.end_experiment(&made.experiment_id, at(1)).await.unwrap();
    assert!(
        db.store
            .changes_since(started.revision)
            .await
            .unwrap()
            .experiments
    );
}

async fn a_change_that_was_taken_back_is_not_told(db: Db) {
    let refused = user(&db.store, "one", "ada")
        .change_config_if(&enable(), Some(7))
        .await;
    assert!(refused.is_err());
    assert_eq!(db.store.revision().await.unwrap(), Revision::default());
}

async fn an_erased_user_is_told_without_a_name_and_a_new_configuration_of_hers_after_it(db: Db) {
    let zoe = user(&db.store, "one", "zoe");
    zoe.change_config(&enable()).await.unwrap();
    let before = db.store.revision().await.unwrap();
    zoe.erase(at(0)).await.unwrap();
    let changes = db.store.changes_since(before).await.unwrap();
    assert!(changes.has_erasures() && changes.configs.is_empty());
    assert!(changes.erased(&UserKey::new("one", "zoe")));
    for other in [UserKey::new("two", "zoe"), UserKey::new("one", "bob")] {
        assert!(!changes.erased(&other));
    }
    // No hash has these letters.
    assert!(!format!("{changes:?}").contains("zoe"));
    zoe.change_config(&opt_out()).await.unwrap();
    let later = db.store.changes_since(changes.revision).await.unwrap();
    assert!(!later.has_erasures() && later.configs[0].1.opt_out);
}
