//! Operations are rows of data: a row and a parameter of the task are all that a new one needs.

use std::time::Duration;

use opwatch::clock::Clock;
use opwatch::cloud::account::Account;
use opwatch::cloud::operations::Operations;
use opwatch::cloud::{Cloud, Stamp, connection};
use opwatch::model::reading::{Class, Outcome, Phase, Response};
use opwatch::model::task::NewTask;
use opwatch::problem::{Place, Problem};
use opwatch::register::catalogue::Catalogue;
use opwatch::register::{TaskEntry, WrittenId};
use opwatch::secret::Secret;
use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario, ServedAction, SimResponse};

use crate::support::cloud;

/// Two rows whose ids mean something only beside a second parameter, as `tcb3` of docs/tencent-cloud-api.md.
const ROWS: &str = r#"
[over-2]
api = "2.0"
host = "bm.api.qcloud.com"
action = "QueryTask"
id = "requestId:string"
status = "/state"
success = ["Succeed"]
failure = ["Failed"]
running = ["Accepted", "Running", "Pending"]
rate = "20/1s"

[over-3]
api = "3.0"
version = "2018-06-08"
host = "tcb.tencentcloudapi.com"
action = "DescribeTaskResult"
id = "TaskId:string"
status = "/Status"
message = "/Reason"
success = ["Succeed"]
failure = ["Failed"]
running = ["Accepted", "Running", "Pending"]
rate = "20/1s"
"#;

fn scenario() -> Scenario {
    let action = |name: &str, over_3_0: Option<(&str, &str)>, id: &str| ServedAction {
        name: name.to_owned(),
        over_3_0: over_3_0.map(|(service, version)| (service.to_owned(), version.to_owned())),
        id: id.to_owned(),
        is_int: false,
        params: vec!["EnvId".to_owned()],
    };
    let actions = vec![
        action("QueryTask", None, "requestId"),
        action("DescribeTaskResult", Some(("tcb", "2018-06-08")), "TaskId"),
    ];
    let running = r#"{"code":0,"data":{"state":"Running"}}"#;
    let failed = r#"{"Response":{"Status":"Failed","Reason":"no quota","RequestId":"r"}}"#;
    Scenario { actions, ..Scenario::default() }
        .with_task("two", [SimResponse::raw(running)])
        .with_task("three", [SimResponse::raw(failed)])
}

fn task(
    catalogue: &Catalogue,
    operation: &str,
    id: &str,
    params: &[(&str, &str)],
) -> Result<NewTask, Problem> {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let id = Some(WrittenId::Text(id.to_owned()));
    let written = TaskEntry { id, operation: Some(operation.to_owned()), params, ..TaskEntry::default() };
    catalogue.resolve(written, &Place::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_a_second_parameter_is_polled_with_the_params_of_its_task_over_either_api() {
    let sim = cloud(scenario()).await;
    let operations = Operations::parse(ROWS).unwrap();
    let account = Account {
        region: Some("ap-beijing".to_owned()),
        endpoint: sim.endpoint().parse().ok(),
        ..Account::new("default", SECRET_ID, Secret::new(SECRET_KEY))
    };
    let regions = [("default".to_owned(), account.region.clone())];
    let catalogue = Catalogue::new(regions, operations.clone(), []);
    let accounts = [("default".to_owned(), account)].into();
    let cloud = Cloud::new(accounts, operations, Duration::from_secs(10), connection::pools).unwrap();
    let clock = Clock::start();
    let poll = async |task: NewTask| -> Response {
        let params: Vec<_> = task.settings.params.into_iter().collect();
        let stamp = Stamp { nonce: clock.nonce(), at: clock.now().wall };
        cloud.route(&task.target).unwrap().poll(&task.id, &params, stamp, false).await
    };

    let env = [("EnvId", "env-1/机")];
    let running = poll(task(&catalogue, "over-2", "two", &env).unwrap()).await.poll.unwrap();
    assert_eq!((running.phase, running.known, running.message), (Phase::Running, true, None));
    let failed = poll(task(&catalogue, "over-3", "three", &env).unwrap()).await.poll.unwrap();
    assert_eq!(failed.phase, Phase::Finished(Outcome::Failure));
    assert_eq!(failed.message.as_deref(), Some("no quota"));

    // The cloud names the missing parameter; the id of another task is looked up beside its own parameter.
    let fault = poll(task(&catalogue, "over-3", "three", &[]).unwrap()).await.poll.unwrap_err();
    assert_eq!(
        (fault.class, fault.to_string()),
        (Class::PaceKey, "MissingParameter: EnvId is missing".to_owned())
    );
    let fault = poll(task(&catalogue, "over-2", "two", &[]).unwrap()).await.poll.unwrap_err();
    assert_eq!(fault.to_string(), "4000: EnvId: missing");
    let refused = task(&catalogue, "over-3", "three", &[("TaskId", "four")]).unwrap_err().to_string();
    assert!(refused.contains("`TaskId` is set by opwatch itself"), "{refused}");
    let ids: Vec<_> = sim.received().into_iter().map(|seen| seen.task).collect();
    assert_eq!(ids, ["two", "three", "three", "two"]);
}
