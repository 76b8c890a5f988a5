//! Answers of both APIs, as they are documented and as they come.

use super::*;
use crate::cloud::operations::BUILT_IN;

fn read(body: &str) -> Result<Reading, Fault> {
    read_2_0(&BUILT_IN["bm"], 200, body.as_bytes())
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
    assert_eq!(reading.phase, Phase::Over(Outcome::Success));
    let ids: Vec<_> = reading.instances.iter().map(|instance| instance.id.as_str()).collect();
    assert_eq!(ids, ["cpm-3dw234", "cpm-sdf343x"]);
    assert!(reading.instances.iter().all(|instance| instance.outcome == Some(Outcome::Success)));
}

#[test]
fn each_status_means_what_its_row_says() {
    for (written, phase) in [
        (1, Phase::Over(Outcome::Success)),
        (2, Phase::Over(Outcome::Failure)),
        (3, Phase::Over(Outcome::Partial)),
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
fn the_oddities_of_real_answers_are_read() {
    let success = (Phase::Over(Outcome::Success), Code::Int(1));
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
fn an_answer_without_a_status_is_no_outcome_and_no_crash() {
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
fn a_good_body_under_another_http_status_than_success_is_no_answer() {
    let body = br#"{"code":0,"data":{"status":1}}"#;
    for status in [302, 404, 500, 503] {
        assert_eq!(read_2_0(&BUILT_IN["bm"], status, body), Err(codes::http(status)));
    }
    assert!(read_2_0(&BUILT_IN["bm"], 200, body).is_ok());
}

#[test]
fn a_refusal_carries_its_code_and_the_servers_words_bounded() {
    let fault = read(&format!(r#"{{"code":"4100","message":"{}"}}"#, "机".repeat(1_000))).unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Account, Code::Int(4100)));
    assert_eq!(fault.message.chars().count(), MESSAGE_BYTES / 3);
}

fn read_3_0(body: &str) -> Result<Reading, Fault> {
    super::read_3_0(&BUILT_IN["bm3"], 200, body.as_bytes())
}

#[test]
fn an_answer_of_api_3_0_is_read_with_its_instances_and_as_leniently_as_one_of_2_0() {
    let documented = r#"{"Response":{"TaskStatus":3,"SubtaskStatusSet":[{"InstanceId":"cpm-a","TaskStatus":1},{"InstanceId":"cpm-b","TaskStatus":2}],"RequestId":"r"}}"#;
    let reading = read_3_0(documented).unwrap();
    assert_eq!((reading.phase, reading.status), (Phase::Over(Outcome::Partial), Code::Int(3)));
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
        assert_eq!(read_3_0(body).expect(body).phase, Phase::Over(Outcome::Success), "{body}");
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
    let slowed = br#"{"Response":{"Error":{"Code":"RequestLimitExceeded","Message":""}}}"#;
    assert_eq!(super::read_3_0(&BUILT_IN["bm3"], 429, slowed).unwrap_err().class, Class::Throttled);
}

#[test]
fn what_is_no_answer_of_api_3_0_is_a_fault_and_no_crash() {
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
        let body = br#"{"Response":{"TaskStatus":1}}"#;
        assert_eq!(super::read_3_0(&BUILT_IN["bm3"], status, body), Err(codes::http(status)));
    }
}
