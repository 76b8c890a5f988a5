//! Responses of both APIs, as documented and as they occur.

use super::*;
use crate::cloud::operations::Operations;
use crate::model::reading::Class;

fn read_as(name: &str, http_status: u16, body: &str) -> Result<Reading, Fault> {
    super::read(Operations::built_in().get(name).unwrap(), http_status, None, body.as_bytes())
}

fn read(body: &str) -> Result<Reading, Fault> {
    read_as("bm", 200, body)
}

fn http_fault(name: &str, status: u16) -> Fault {
    let message = format!("the server returned HTTP {status}");
    codes::fault(Cause::Http(status), &message, Operations::built_in().get(name).unwrap())
}

fn status(body: &str) -> (Phase, Code) {
    let reading = read(body).expect(body);
    (reading.phase, reading.status)
}

#[test]
fn the_published_sample_is_read_as_it_stands_with_its_typographic_quotes() {
    let sample = include_str!("../../../tests/support/sample-answer.json");
    assert!(sample.contains('\u{201c}'));
    let reading = read(sample).unwrap();
    assert_eq!(reading.phase, Phase::Finished(Outcome::Success));
    let ids: Vec<_> = reading.instances.iter().map(|instance| instance.id.as_str()).collect();
    assert_eq!(ids, ["cpm-3dw234", "cpm-sdf343x"]);
    assert!(reading.instances.iter().all(|instance| instance.outcome == Some(Outcome::Success)));
}

#[test]
fn each_status_means_what_its_row_says() {
    for (written, phase) in [
        (1, Phase::Finished(Outcome::Success)),
        (2, Phase::Finished(Outcome::Failure)),
        (3, Phase::Finished(Outcome::Partial)),
        (4, Phase::Running),
        (7, Phase::Running),
        (0, Phase::Running),
        (99, Phase::Running),
    ] {
        assert_eq!(
            status(&format!(r#"{{"code":0,"data":{{"status":{written}}}}}"#)),
            (phase, Code::Int(written))
        );
    }
}

#[test]
fn the_oddities_of_real_responses_are_read() {
    let success = (Phase::Finished(Outcome::Success), Code::Int(1));
    for body in [
        r#"{"code":"0","message":"OK","data":{"status":"1"}}"#,
        r#"{"code ":0,"data ":{"status ":1}}"#,
        r#"{"code":0,"data":[{"status":1}]}"#,
        r#"{"code":0,"codeDesc":"Success","data":{"status":1,"instanceIds":"","resourceIds":null}}"#,
    ] {
        assert_eq!(status(body), success, "{body}");
    }
    let other_name = read(
        r#"{"code":0,"data":{"status":5,"resourceIds":[{"instanceId ":"a","status ":"1"},{"instanceId":"b","status":4}]}}"#,
    );
    let outcomes: Vec<_> =
        other_name.unwrap().instances.into_iter().map(|instance| instance.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Success), None]);
}

#[test]
fn a_row_without_a_status_is_running() {
    for more in ["{}", "null", "\"\"", "[]", "{\"status\":null}", "{\"state\":1}"] {
        for data in [format!("[{{\"status\":1}},{more}]"), format!("[{more},{{\"status\":2}}]")] {
            let (phase, _) = status(&format!(r#"{{"code":0,"data":{data}}}"#));
            assert_eq!(phase, Phase::Running, "{data}");
        }
    }
}

#[test]
fn an_response_without_a_status_is_no_outcome_and_no_crash() {
    for data in ["null", "[]", "{}", "\"\"", "5", "{\"status\":null}", "{\"status\":[]}", "{\"status\":\"\"}"]
    {
        let fault = read(&format!(r#"{{"code":0,"data":{data}}}"#)).expect_err(data);
        assert_eq!((fault.class, fault.code.to_string().as_str()), (Class::Task, "no_status"), "{data}");
    }
    for body in ["", "[]", "null", "<html>", "{\"code\":null}", "{\"code\":0}", "\u{0}"] {
        assert!(read(body).is_err(), "{body}");
    }
}

#[test]
fn a_good_body_under_another_http_status_than_success_is_no_response() {
    let body = r#"{"code":0,"data":{"status":1}}"#;
    for status in [302, 404, 500, 503] {
        assert_eq!(read_as("bm", status, body), Err(http_fault("bm", status)));
    }
    assert!(read_as("bm", 200, body).is_ok());
}

#[test]
fn a_refusal_carries_its_code_and_the_servers_words_bounded() {
    let refused = read(&format!(r#"{{"code":"4100","message":"{}"}}"#, "机".repeat(1_000)));
    let fault = kept(refused, &Hidden::default()).unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Account, Code::Int(4100)));
    assert_eq!(fault.message.chars().count(), MAX_TEXT_BYTES / 3);
}

#[test]
fn secrets_are_hidden_in_what_is_kept_and_the_texts_as_they_came_decide() {
    let hidden = Hidden::new(["SUCCESS", "Region=hunter2", "4100 hunter2"]);
    let row = Operations::built_in().get("bm3").unwrap().as_ref().clone();
    let row = Operation { success: vec![Code::read("SUCCESS")], ..row };
    let body = br#"{"Response":{"TaskStatus":"SUCCESS"}}"#;
    let reading = kept(super::read(&row, 200, None, body), &hidden).unwrap();
    assert_eq!(
        (reading.phase, reading.status.to_string().as_str()),
        (Phase::Finished(Outcome::Success), "[secret]")
    );
    assert!(reading.known);
    let refused = kept(read(r#"{"code":10001,"message":"Region=hunter2"}"#), &hidden).unwrap_err();
    assert_eq!((refused.class, refused.message.as_str()), (Class::PaceKey, "[secret]"));
    // A cut comes last: half a secret would not be found.
    let text = format!("{}4100 hunter2{}", "x".repeat(MAX_TEXT_BYTES - 4), "y".repeat(100));
    let refused = kept(read(&format!(r#"{{"code":"{text}","message":"{text}"}}"#)), &hidden).unwrap_err();
    for reported in [refused.message, refused.code.to_string()] {
        assert!(reported.len() == MAX_TEXT_BYTES && reported.ends_with("x[sec"), "{reported}");
    }
}

fn read_3_0(body: &str) -> Result<Reading, Fault> {
    read_as("bm3", 200, body)
}

#[test]
fn an_response_of_api_3_0_is_read_with_its_instances_and_as_leniently_as_one_of_2_0() {
    let documented = r#"{"Response":{"TaskStatus":3,"SubtaskStatusSet":[{"InstanceId":"cpm-a","TaskStatus":1},{"InstanceId":"cpm-b","TaskStatus":2}],"RequestId":"r"}}"#;
    let reading = read_3_0(documented).unwrap();
    assert_eq!((reading.phase, reading.status), (Phase::Finished(Outcome::Partial), Code::Int(3)));
    let instances: Vec<_> =
        reading.instances.iter().map(|instance| (instance.id.as_str(), instance.outcome)).collect();
    assert_eq!(instances, [("cpm-a", Some(Outcome::Success)), ("cpm-b", Some(Outcome::Failure))]);
    for body in [
        r#"{"Response":{"TaskStatus":"1","RequestId":"r"}}"#,
        r#"{"Response ":{"TaskStatus ":1,"SubtaskStatusSet":null}}"#,
        r#"{"Response":{"TaskStatus":1,"SubtaskStatusSet":"","Error":null}}"#,
        r#"{"Response":{"TaskStatus":1,"Error":{}}}"#,
        "{\u{201c}Response\u{201d}:{\u{201c}TaskStatus\u{201d}:1}}",
    ] {
        assert_eq!(read_3_0(body).expect(body).phase, Phase::Finished(Outcome::Success), "{body}");
    }
    for status in [4, 5, 6, 7, 99] {
        let reading = read_3_0(&format!(r#"{{"Response":{{"TaskStatus":{status}}}}}"#)).unwrap();
        assert_eq!((reading.phase, reading.known), (Phase::Running, status != 99));
    }
}

#[test]
fn an_error_of_api_3_0_counts_under_http_200_and_beside_a_status() {
    for body in [
        r#"{"Response":{"Error":{"Code":"AuthFailure.SignatureFailure","Message":"no"},"RequestId":"r"}}"#,
        r#"{"Response":{"TaskStatus":1,"Error":{"Code ":"AuthFailure.SignatureFailure","Message ":"no"}}}"#,
        r#"{"Response":{"TaskStatus":1,"Error":[{"Code":"AuthFailure.SignatureFailure","Message":"no"}]}}"#,
    ] {
        let fault = read_3_0(body).expect_err(body);
        assert_eq!(
            (fault.class, fault.to_string().as_str()),
            (Class::Account, "AuthFailure.SignatureFailure: no")
        );
    }
    let slowed = r#"{"Response":{"Error":{"Code":"RequestLimitExceeded","Message":""}}}"#;
    assert_eq!(read_as("bm3", 429, slowed).unwrap_err().class, Class::Throttled);
}

#[test]
fn what_is_no_response_of_api_3_0_is_a_fault_and_no_crash() {
    let code = |body: &str| read_3_0(body).expect_err(body).code.to_string();
    for body in [
        "",
        "[]",
        "<html>",
        "{}",
        r#"{"Response":null}"#,
        r#"{"Response":[]}"#,
        r#"{"code":0,"data":{"status":1}}"#,
    ] {
        assert_eq!(code(body), "unreadable", "{body}");
    }
    for body in
        [r#"{"Response":{"Error":"broken"}}"#, r#"{"Response":{"TaskStatus":1,"Error":{"Message":"no"}}}"#]
    {
        assert_eq!(code(body), "unreadable", "{body}");
    }
    for body in
        [r#"{"Response":{}}"#, r#"{"Response":{"TaskStatus":null}}"#, r#"{"Response":{"TaskStatus":[]}}"#]
    {
        assert_eq!(code(body), "no_status", "{body}");
    }
    for status in [302, 404, 502] {
        let body = r#"{"Response":{"TaskStatus":1}}"#;
        assert_eq!(read_as("bm3", status, body), Err(http_fault("bm3", status)));
    }
}

/// Responses of both APIs with these statuses: one row of `data` each, or one element of an array each.
fn rows(statuses: &[&str]) -> [Result<Reading, Fault>; 2] {
    let table = r#"
[rows]
api = "2.0"
host = "bm.api.qcloud.com"
action = "A"
id = "taskId:int"
status = "/status"
success = [1]
failure = [2]
partial = [3]
running = [4, 5]
instances = { each = ["/instanceIds"], id = "/instanceId", status = "/status" }
rate = "1/1s"

[elements]
api = "3.0"
version = "2018-04-23"
host = "tat.tencentcloudapi.com"
action = "A"
id = "TaskId:int"
status = "/Set/*/Status"
message = "/Set/*/Text"
success = [1]
failure = [2]
partial = [3]
running = [4, 5]
instances = { each = ["/Nothing/*/Ids", "/Set/*/Ids"], id = "/Id", status = "/S" }
rate = "1/1s"
"#;
    let operations = Operations::parse(table).unwrap();
    let row = |(number, status): (usize, &&str)| match *status {
        // Without a status; counts as absent.
        "missing" => r#"{"instanceIds":[],"other":1}"#.to_owned(),
        "empty" => "{}".to_owned(),
        status => {
            format!(r#"{{"status":{status},"instanceIds":[{{"instanceId":"i{number}","status":{status}}}]}}"#)
        }
    };
    let rows = statuses.iter().enumerate().map(row).collect::<Vec<_>>().join(",");
    let elements = rows.replace("instanceIds", "Ids").replace("instanceId", "Id");
    let elements =
        elements.replace(r#"{"status""#, r#"{"Text":"step","Status""#).replace(r#""status""#, r#""S""#);
    let bodies = [
        ("rows", format!(r#"{{"code":0,"data":[{rows}]}}"#)),
        ("elements", format!(r#"{{"Response":{{"Set":[{elements}],"RequestId":"r"}}}}"#)),
    ];
    bodies.map(|(name, body)| super::read(operations.get(name).unwrap(), 200, None, body.as_bytes()))
}

#[test]
fn several_rows_finish_a_task_only_together_and_one_running_row_keeps_it_running() {
    let success = Phase::Finished(Outcome::Success);
    let failure = Phase::Finished(Outcome::Failure);
    let partial = Phase::Finished(Outcome::Partial);
    for (statuses, phase, status, known) in [
        (&["1"][..], success, 1, true),
        (&["1", "1", "\"1\""], success, 1, true),
        (&["2", "2"], failure, 2, true),
        (&["3", "3"], partial, 3, true),
        (&["1", "2"], partial, 2, true),
        (&["2", "1"], partial, 2, true),
        (&["1", "3"], partial, 3, true),
        (&["2", "3", "1"], partial, 3, true),
        (&["1", "4"], Phase::Running, 4, true),
        (&["4", "1"], Phase::Running, 4, true),
        (&["2", "1", "5", "4"], Phase::Running, 5, true),
        // An unknown status is no end, and is the one to be reported.
        (&["4", "99"], Phase::Running, 99, false),
        (&["1", "99"], Phase::Running, 99, false),
        // An end could not be taken back when the missing status arrives.
        (&["1", "missing"], Phase::Running, 1, true),
        (&["missing", "1", "2"], Phase::Running, 1, true),
        (&["1", "null"], Phase::Running, 1, true),
        (&["1", "empty"], Phase::Running, 1, true),
    ] {
        for reading in rows(statuses) {
            let reading = reading.unwrap_or_else(|fault| panic!("{statuses:?}: {fault}"));
            let Reading { phase: read, status: shown, known: is_known, .. } = reading;
            assert_eq!((read, shown, is_known), (phase, Code::Int(status), known), "{statuses:?}");
        }
    }
    for statuses in [&[][..], &["missing"], &["empty", "empty"], &["null"]] {
        for reading in rows(statuses) {
            assert_eq!(reading.unwrap_err().code.to_string(), "no_status", "{statuses:?}");
        }
    }
}

#[test]
fn the_instances_of_all_rows_are_read_and_a_message_of_the_row() {
    for reading in rows(&["1", "4", "2"]) {
        let ids: Vec<_> = reading.unwrap().instances.into_iter().map(|one| (one.id, one.outcome)).collect();
        let outcomes = [Some(Outcome::Success), None, Some(Outcome::Failure)];
        let wanted: Vec<_> = outcomes
            .into_iter()
            .enumerate()
            .map(|(number, outcome)| (format!("i{number}"), outcome))
            .collect();
        assert_eq!(ids, wanted);
    }
    let [without, with] = rows(&["4"]);
    assert_eq!((without.unwrap().message, with.unwrap().message.as_deref()), (None, Some("step")));
}

#[test]
fn a_name_without_blanks_counts_first_and_the_last_of_two_alike() {
    for (body, status) in [
        (r#"{"code":0,"data":{"status ":4,"status":1}}"#, 1),
        (r#"{"code":0,"data":{"status":1,"status ":4}}"#, 1),
        (r#"{"code":0,"data":{"status":4,"status":1}}"#, 1),
        (r#"{"code":0,"data":{" status":4,"status ":1}}"#, 4),
        (r#"{"code":0,"data":{"st\u0061tus":1}}"#, 1),
    ] {
        assert_eq!(read(body).expect(body).status, Code::Int(status), "{body}");
    }
}

#[test]
fn an_error_that_is_not_empty_counts_whatever_it_holds() {
    for error in [r#"{"Reason":"no"}"#, r#"[{"Reason":"no"}]"#, "5", "true", "\"broken\""] {
        let fault =
            read_3_0(&format!(r#"{{"Response":{{"TaskStatus":1,"Error":{error}}}}}"#)).expect_err(error);
        assert_eq!(fault.code.to_string(), "unreadable", "{error}");
    }
    for error in ["null", "[]", "{}", "\"\"", "\" \"", "[{}]"] {
        let reading = read_3_0(&format!(r#"{{"Response":{{"TaskStatus":1,"Error":{error}}}}}"#));
        assert_eq!(reading.expect(error).phase, Phase::Finished(Outcome::Success), "{error}");
    }
}
