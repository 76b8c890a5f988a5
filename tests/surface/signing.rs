//! Every way to sign that an account may choose, against a cloud that checks.

use opwatch::sim::{Scenario, SimResponse, Unlisted};

use crate::support::{Home, cloud};

#[tokio::test(flavor = "multi_thread")]
async fn each_method_and_hash_and_a_host_of_its_own_is_accepted_and_the_largest_id_stays_exact() {
    for method in ["GET", "POST"] {
        for hash in ["HmacSHA1", "HmacSHA256"] {
            let unlisted = Unlisted::Follows(vec![SimResponse::status(1)]);
            let cloud = cloud(Scenario {
                unlisted,
                signed_host: Some("bm.api.qcloud.com".to_owned()),
                ..Scenario::default()
            })
            .await;
            let home = Home::new(&cloud, "");
            let more = format!(
                "method = \"{method}\"\nsignature_method = \"{hash}\"\nsigned_host = \"bm.api.qcloud.com\""
            );
            home.edit("rate_limit = 500", &format!("rate_limit = 500\n{more}"));
            home.list([u64::MAX]);
            let ended = home.run_until_done().await;
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(cloud.received().iter().all(|seen| seen.flaw.is_none()), "{:?}", cloud.received());
            assert_eq!(home.events()[0]["data"]["task"]["id"], "18446744073709551615");
            assert_eq!(home.events()[0]["subject"], "bm/18446744073709551615");
        }
    }
}
