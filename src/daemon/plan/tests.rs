//! Plans of written configurations.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::config;
use crate::telemetry::ResolvedFormat;

const ACCOUNTS: &str = "
task_files = ['list']
[accounts.default]
region = 'bj'
secret_id = 'AKID'
secret_key = 'hunter2'
[accounts.same]
region = 'bj'
secret_id = 'AKID'
secret_key = 'hunter2'
rate_limit = 1
[accounts.new]
region = 'bj'
api = '3.0'
secret_id = 'AKIDnew'
secret_key = 'hunter2'
[accounts.idle]
secret_id = 'AKIDidle'
secret_key = 'hunter2'
";

fn loaded(folder: &Path, more: &str, tasks: &str) -> Loaded {
    let path = folder.join("opwatch.toml");
    std::fs::write(&path, format!("{ACCOUNTS}\n[store]\nurl = 'sqlite:x.db'\n{more}")).unwrap();
    // The file has inline secrets, and must not be open to everyone.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(folder.join("list"), tasks).unwrap();
    config::load(&path, &config::Environment::default()).unwrap()
}

fn planned(more: &str, tasks: &str) -> (Plan, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let loaded = loaded(folder.path(), more, tasks);
    let plan = plan(&loaded, &LineStyle::without_number(ResolvedFormat::Json), Clock::start()).unwrap();
    let doubts = plan.doubts(&loaded);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is created");
    (plan, doubts)
}

fn bare(count: u64) -> String {
    (1..=count).map(|id| format!("{id}\n")).collect()
}

#[test]
fn accounts_of_one_secret_id_share_a_pace_key_and_its_lower_rate() {
    let own = "{\"id\":1,\"account\":\"same\"}\n{\"id\":2,\"account\":\"same\",\"timeout\":\"1h\"}\n{\"id\":3,\"account\":\"new\"}\n";
    let (plan, doubts) = planned("", &(bare(10) + own));
    let keys: Vec<_> =
        plan.keys.iter().map(|key| (key.pace_key.host.as_str(), key.tasks, key.rate.to_string())).collect();
    assert_eq!(
        keys,
        [("bm.api.qcloud.com", 12, "1/1s".to_owned()), ("bm.tencentcloudapi.com", 1, "47.5/1s".to_owned())]
    );
    assert_eq!(
        (plan.keys[0].targets.len(), plan.keys[0].own_timeouts, plan.keys[0].documented),
        (2, 1, None)
    );
    assert_eq!((plan.tasks, plan.idle_accounts), (13, vec!["idle".to_owned()]));
    assert!(
        doubts.len() == 1 && doubts[0].starts_with("accounts default, same: have one SecretId"),
        "{doubts:?}"
    );
}

#[test]
fn a_list_that_the_rate_does_not_carry_is_doubted_with_its_arithmetic_and_what_helps() {
    let (_, doubts) = planned("", &bare(10_000));
    let reported = "default, bj, bm: the rate limit is the bottleneck: 10,000 tasks ÷ 95/1m = 1h 45m for one sweep, so an end is detected up to 1h 45m late";
    assert!(
        doubts[0].starts_with(reported)
            && doubts[0].contains("api = \"3.0\" in the account (one sweep then takes 3m 31s)"),
        "{doubts:#?}"
    );
    assert_eq!(doubts.len(), 2, "the other is about the shared SecretId");

    let list: String = (1..=4_000).map(|id| format!("{{\"id\":{id},\"account\":\"new\"}}\n")).collect();
    let (_, doubts) = planned("[poll]\ntimeout = '1m'", &list);
    assert!(doubts[0].contains("1m 24s for one sweep") && !doubts[0].contains("3.0"), "{doubts:#?}");
    assert!(doubts[1].contains("longer than the timeout of 1m"), "{doubts:#?}");
}

#[test]
fn what_the_daemon_would_be_refused_for_is_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut loaded = loaded(folder.path(), "", "1");
    loaded.store.url = Some(format!("sqlite:{}/missing/x.db", folder.path().display()));
    let error = plan(&loaded, &LineStyle::without_number(ResolvedFormat::Json), Clock::start())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("opwatch.toml:22: store.url: cannot open the store")
            && error.contains("its folder does not exist"),
        "{error}"
    );
}
