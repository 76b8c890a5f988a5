//! Wrong configurations, and the errors of each: all of them, with file, line and key, and without secrets.

use super::{Environment, load};

/// Files by name (the first is the main one), variables, and for each error its place and a part of its text.
type Wrong = (
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, &'static str)],
);

/// A secret of all cases, which must not be in any output.
const SECRET: &str = "hunter2";
const GOOD: &str = "[accounts.default]\nregion = 'bj'\nsecret_id = 'AKID'\nsecret_key = 'hunter2'\n";
const CERTIFICATE: &str = include_str!("../../tests/support/ca.pem");
const MAIN: &str = "opwatch.toml";
const CREDENTIALS: &[(&str, &str)] =
    &[("TENCENTCLOUD_SECRET_ID", "AKID"), ("TENCENTCLOUD_SECRET_KEY", "hunter2")];

#[rustfmt::skip]
const CASES: &[Wrong] = &[
    // Files.
    (&[], &[], &[("opwatch.toml: ", "no such file")]),
    (&[(MAIN, "")], &[], &[("opwatch.toml: ", "is empty")]),
    (&[(MAIN, " \n\n")], &[], &[("opwatch.toml: ", "is empty")]),
    (&[(MAIN, "\u{feff}")], &[], &[("opwatch.toml: ", "is empty")]),
    (&[(MAIN, "[poll]\njitter = 0\0")], &[], &[("opwatch.toml:2: ", "not UTF-8 text")]),
    (&[(MAIN, "[poll]\nconf.d = 1"), ("conf.d/a.toml/x", "")], &[], &[("opwatch.toml:2: poll.conf: ", "unknown key"), ("conf.d/a.toml: ", "is a folder")]),
    (&[(MAIN, "# nothing"), ("conf.d/a.toml", "[poll]\njitter = 2")], &[], &[("conf.d/a.toml:2: poll.jitter: ", "from 0 to 1")]),
    (&[(MAIN, "# nothing"), ("conf.d", "a file")], &[], &[("conf.d: ", "cannot list")]),
    // Syntax.
    (&[(MAIN, "[poll\njitter = 0.1")], &[], &[("opwatch.toml:1: ", "is not TOML")]),
    (&[(MAIN, "[poll]\njitter = ")], &[], &[("opwatch.toml:2: ", "is not TOML")]),
    (&[(MAIN, "[poll]\njitter = 0.1\njitter = 0.2")], &[], &[("opwatch.toml:3: ", "duplicate key")]),
    (&[(MAIN, "[poll]\r\n\r\ntimeout = 24h\r\n")], &[], &[("opwatch.toml:3: ", "is not TOML")]),
    (&[(MAIN, "[accounts.a]\nsecret_key = hunter2")], &[], &[("opwatch.toml:2: ", "is not TOML")]),
    (&[(MAIN, "[accounts.a]\nsecret_key = \"hunter2")], &[], &[("opwatch.toml:2: ", "is not TOML")]),
    // Names.
    (&[(MAIN, "[pol]\njitter = 0.1")], &[], &[("opwatch.toml:1: pol: ", "did you mean `poll`?")]),
    (&[(MAIN, "\u{feff}[poll]\nmax_intervall = '1m'")], &[], &[("opwatch.toml:2: poll.max_intervall: ", "did you mean `max_interval`?")]),
    (&[(MAIN, "[poll]\nxyz = 1")], &[], &[("opwatch.toml:2: poll.xyz: ", "write one of `error_interval`")]),
    (&[(MAIN, "[https]\nlisten = '127.0.0.1:1'")], &[], &[("opwatch.toml:1: https: ", "no such section; did you mean `http`?")]),
    (&[(MAIN, "[http]\nlisten = '0.0.0.0:9464'\nport = 1")], &[], &[("opwatch.toml:2: http.listen: ", "`token_file` is required"), ("opwatch.toml:3: http.port: ", "")]),
    (&[(MAIN, "[accounts.prod]\nregion = 'bj'\n[accounts.Prod]\nsecret_id = 'x'\nsecret_key_file = 'k'"), ("k", "hunter2")], CREDENTIALS, &[("opwatch.toml:1: accounts.prod: ", "differs from [accounts.Prod] in case only")]),
    (&[(MAIN, "[http]\nlisten = 'localhost'")], &[], &[("opwatch.toml:2: http.listen: ", "write an IP address and a port, such as 127.0.0.1:9464")]),
    (&[(MAIN, "secret_key = 'hunter2'")], &[], &[("opwatch.toml:1: secret_key: ", "write it below [accounts.NAME]")]),
    (&[(MAIN, "[accounts]\nsecret_key = 'hunter2'")], &[], &[("opwatch.toml:2: accounts.secret_key: ", "is not a table")]),
    (&[(MAIN, "[accounts.default]\nregion = 'bj'\nsecret_id = 'AKID'\nsecret_kee = 'hunter2'")], &[], &[("opwatch.toml:4: accounts.default.secret_kee: ", "did you mean `secret_key`?")]),
    (&[(MAIN, "[accounts.\"a\\nb\"]\n")], CREDENTIALS, &[("opwatch.toml:1: accounts.\"a\\nb\": ", "is not a valid name")]),
    (&[(MAIN, "[accounts.default]\nproxi = 'http://u:hunter2@p'")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.proxi: ", "did you mean `proxy`?")]),
    // Types and units.
    (&[(MAIN, "poll = 3")], &[], &[("opwatch.toml:1: poll: ", "write [poll]")]),
    (&[(MAIN, "[poll]\njitter = '0.1'")], &[], &[("opwatch.toml:2: poll.jitter: ", "write a number")]),
    (&[(MAIN, "[poll]\njitter = nan")], &[], &[("opwatch.toml:2: poll.jitter: ", "finite number")]),
    (&[(MAIN, "[poll]\nmax_interval = 60")], &[], &[("opwatch.toml:2: poll.max_interval: ", "integer `60` does not fit; write a duration with its unit")]),
    (&[(MAIN, "[poll]\nmax_interval = '60 parsecs'")], &[], &[("opwatch.toml:2: poll.max_interval: ", "such as \"90s\"")]),
    (&[(MAIN, "[poll]\nmax_interval = 'never'")], &[], &[("opwatch.toml:2: poll.max_interval: ", "such as \"90s\"")]),
    (&[(MAIN, "[poll]\nmax_interval = 1979-05-27")], &[], &[("opwatch.toml:2: poll.max_interval: ", "date without quotes")]),
    (&[(MAIN, "[log]\nlevel = 'inof'")], &[], &[("opwatch.toml:2: log.level: ", "did you mean \"info\"?")]),
    (&[(MAIN, "[log]\nformat = 7")], &[], &[("opwatch.toml:2: log.format: ", "does not fit; write one of \"auto\", \"text\"")]),
    (&[(MAIN, "[accounts.default]\nmax_in_flight = -1\nrate_limit = 0\nmethod = 'PUT'")], CREDENTIALS,
        &[("opwatch.toml:2: accounts.default.max_in_flight: ", "whole number"), ("opwatch.toml:3: accounts.default.rate_limit: ", "above 0"), ("opwatch.toml:4: accounts.default.method: ", "\"GET\"")]),
    (&[(MAIN, "[accounts.default]\nmax_in_flight = 10001")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.max_in_flight: ", "from 1 to 10000")]),
    (&[(MAIN, "[accounts.default]\nmax_in_flight = 99999999999999999999999")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.max_in_flight: ", "too large")]),
    (&[(MAIN, "[accounts.default]\nsecret_id = 'AKID'\nsecret_key = ['hunter2']")], &[], &[("opwatch.toml:3: accounts.default.secret_key: ", "write a text, in quotes")]),
    (&[(MAIN, "task_files = ['a.tasks']\n[accounts.default]\nregion = 'bj'"), ("a.tasks", "{\"code\":0,\"data\":{\"taskId\":1000800001}}\n2\n")], CREDENTIALS, &[("a.tasks:1: ", "is a response of the cloud; write the task id alone, on a line of its own: 1000800001")]),
    (&[(MAIN, "[accounts.default]\nregion = 'bj'\ntasks = [1, 2]")], CREDENTIALS, &[("opwatch.toml:3: accounts.default.tasks: ", "move it to the top of the file, above the first [section]")]),
    (&[(MAIN, "task_files = 'a.tasks'")], &[], &[("opwatch.toml:1: task_files: ", "write a list of paths")]),
    (&[(MAIN, "[store]\nurl = 'postgres://u:hunter2@h/db'")], &[], &[("opwatch.toml:2: store.url: ", "write sqlite:")]),
    (&[(MAIN, "[store]\nurl = 'sqlite:'\nretention = '0s'")], &[], &[("opwatch.toml:2: store.url: ", "write sqlite:"), ("opwatch.toml:3: store.retention: ", "forever")]),
    // Conditions between keys.
    (&[(MAIN, "[poll]\ninitial_interval = '2m'")], &[], &[("opwatch.toml:2: poll.initial_interval: ", "longer than `max_interval`")]),
    (&[(MAIN, "[poll]\ninitial_interval = '2m'"), ("conf.d/a.toml", "[poll]\ninitial_interval = '3m'")], &[], &[("conf.d/a.toml:2: poll.initial_interval: ", "longer than `max_interval`")]),
    (&[(MAIN, "[poll]\nerror_interval = '1h'\nmultiplier = 0.5\njitter = -0.1\nrequest_timeout = '0s'")], &[],
        &[("opwatch.toml:2: poll.error_interval: ", "longer"), ("opwatch.toml:3: poll.multiplier: ", "from 1"), ("opwatch.toml:4: poll.jitter: ", "from 0 to 1"), ("opwatch.toml:5: poll.request_timeout: ", "more than 0s")]),
    (&[(MAIN, "[poll]\ninitial_delay = '24h'")], &[], &[("opwatch.toml:2: poll.initial_delay: ", "no poll would precede the deadline")]),
    (&[(MAIN, "[poll]\ntimeout = '5m'\ninitial_delay = '5m'\n[[tasks]]\nid = 1\nregion = 'bj'\n[[tasks]]\nid = 2\nregion = 'bj'\ninitial_delay = '6m'")], CREDENTIALS, &[("opwatch.toml:3: poll.initial_delay: ", "no poll would precede the deadline")]),
    (&[(MAIN, "task_files = ['a.tasks']\n[poll]\ntimeout = '10m'\ninitial_delay = '5m'\n[accounts.main]\nregion = 'bj'\n[[tasks]]\nid = 1\ninitial_delay = '10m'\n[[tasks]]\nid = 2\ntimeout = '5m'\n[[tasks]]\nid = 3\ntimeout = '1m'\ninitial_delay = '1m'\n[[tasks]]\nid = 4\ntimeout = 'never'\ninitial_delay = '1h'"), ("a.tasks", "{\"id\":5,\"initial_delay\":\"1h\"}\n{\"id\":6,\"initial_delay\":\"1h\",\"timeout\":\"2h\"}")], CREDENTIALS,
        &[("opwatch.toml:9: tasks.initial_delay: ", "`timeout` of [poll], which is 10m"), ("opwatch.toml:12: tasks.timeout: ", "`initial_delay` of [poll], which is 5m"),
          ("opwatch.toml:16: tasks.initial_delay: ", "not shorter than `timeout`, so"), ("a.tasks:1: initial_delay: ", "`timeout` of [poll], which is 10m")]),
    // Layers that contradict.
    (&[(MAIN, GOOD), ("conf.d/a.toml", "[accounts.default]\nsecret_key_file = 'k'"), ("conf.d/k", "hunter2")], &[], &[("conf.d/a.toml:2: accounts.default.secret_key_file: ", "keep one")]),
    (&[(MAIN, "[sinks.a]\ntype = 'file'\npath = 'x'"), ("conf.d/a.toml", "[sinks.a]\ntype = 'exec'")], &[], &[("opwatch.toml:3: sinks.a.path: ", "is a key of type \"file\"; leave it out, or write it in a sink of that type"), ("conf.d/a.toml:1: sinks.a.command: ", "is missing")]),
    (&[(MAIN, GOOD), ("conf.d/a.toml", "[accounts]\ndefault = 'hunter2'")], &[], &[("conf.d/a.toml:2: accounts.default: ", "is not a table")]),
    // Typical errors of newcomers: names and forms of other programs, keys in the wrong place, files of
    // another kind.
    (&[(MAIN, "region = 'bj'\ntimeout = '1h'\nurl = 'hunter2'\ntask_file = ['a']\n[default]\nregion = 'bj'\n[sink.a]\ntype = 'file'")], &[],
        &[("opwatch.toml:1: region: ", "write it below [accounts.NAME] or [[tasks]]"), ("opwatch.toml:2: timeout: ", "write it below [poll] or [[tasks]] or [sinks.NAME]"), ("opwatch.toml:3: url: ", "[store] or [heartbeat] or [sinks.NAME]"), ("opwatch.toml:4: task_file: ", "did you mean `task_files`?"),
          ("opwatch.toml:5: default: ", "there is no such section; write [accounts.NAME]"), ("opwatch.toml:7: sink: ", "there is no such section; did you mean `sinks`?")]),
    (&[(MAIN, "tasks = [1, 2]\n[account.default]\nregion = 'bj'")], &[], &[("opwatch.toml:2: account: ", "did you mean `accounts`?")]),
    (&[(MAIN, "tasks = [1, 2]\n[accounts]\nregion = 'bj'")], &[], &[("opwatch.toml:3: accounts.region: ", "write [accounts.NAME]")]),
    (&[(MAIN, "tasks = [1, 2]\n[accounts.default]\nregion = 'BJ '\nsecret_id = 'AKID'\nsecret_key = 'hunter2'")], &[], &[("opwatch.toml:3: accounts.default.region: ", "write it as in the API")]),
    (&[(MAIN, "[[sinks]]\ntype = 'file'\n[[accounts]]\nregion = 'bj'\n[[task]]\nid = 1")], &[], &[("opwatch.toml:1: sinks: ", "write [sinks.NAME]"), ("opwatch.toml:3: accounts: ", "write [accounts.NAME]"), ("opwatch.toml:5: task: ", "did you mean `tasks`?")]),
    (&[(MAIN, "[poll]\nregion = 'bj'\n[store]\npath = 'x'\n[accounts.a]\ntask_files = ['x']\nurl = 'hunter2'\n[[tasks]]\nid = 1\nregion = 'bj'\nretention = '1d'\ntaskId = 2\ntags = {}")], CREDENTIALS,
        &[("opwatch.toml:2: poll.region: ", "below [accounts.NAME] or [[tasks]]"), ("opwatch.toml:4: store.path: ", "did you mean `url`?"), ("opwatch.toml:6: accounts.a.task_files: ", "above the first [section]"), ("opwatch.toml:7: accounts.a.url: ", "below [store] or [heartbeat] or [sinks.NAME]"),
          ("opwatch.toml:11: tasks.retention: ", "below [store]"), ("opwatch.toml:12: tasks.taskId: ", "did you mean `id`?"), ("opwatch.toml:13: tasks.tags: ", "did you mean `labels`?")]),
    (&[(MAIN, "[sinks.a]\ntype = 'exec'\ncommand = ['x']\npath = 'x'\n[sinks.b]\ntype = 'file'\npath = 'x'\nurl = 'https://h/hunter2'\ntimeout = '1s'\n[sinks.c]\ntype = 'webhook'\nurl = 'https://h/'\npath = 'x'\ncommand = ['hunter2']")], &[],
        &[("opwatch.toml:4: sinks.a.path: ", "is a key of type \"file\"; leave it out, or write it in a sink of that type"), ("opwatch.toml:8: sinks.b.url: ", "is a key of type \"webhook\""), ("opwatch.toml:9: sinks.b.timeout: ", "is a key of type \"webhook\" and \"exec\""),
          ("opwatch.toml:13: sinks.c.path: ", "is a key of type \"file\""), ("opwatch.toml:14: sinks.c.command: ", "is a key of type \"exec\"")]),
    (&[(MAIN, "[sinks.a]\ntype = 'http'\n[sinks.b]\ntype = 'log'\n[sinks.c]\ntype = 'Webhook'\n[sinks.d]\ntype = 'file'\nfile = 'x'\nevents = 'finished'\noutcomes = [1]\nretry = 3")], &[],
        &[("opwatch.toml:2: sinks.a.type: ", "did you mean `webhook`?"), ("opwatch.toml:4: sinks.b.type: ", "always exists under the name `log`"), ("opwatch.toml:6: sinks.c.type: ", "did you mean `webhook`?"), ("opwatch.toml:7: sinks.d.path: ", "is missing"), ("opwatch.toml:9: sinks.d.file: ", "did you mean `path`?"),
          ("opwatch.toml:10: sinks.d.events: ", "write a list, in [ ]"), ("opwatch.toml:11: sinks.d.outcomes.0: ", "write one of \"success\", \"failure\", \"partial\""), ("opwatch.toml:12: sinks.d.retry: ", "write a table, in { }")]),
    (&[(MAIN, "[sinks.a]\ntype = 'file'\npath = 'x'\nevents = ['progressed']\noutcomes = ['failure']")], &[], &[("opwatch.toml:5: sinks.a.outcomes: ", "add \"finished\" there")]),
    (&[(MAIN, "[store]\nurl = 'sqlite:///var/lib/x.db'")], &[], &[("opwatch.toml:2: store.url: ", "write sqlite: and the path alone")]),
    (&[(MAIN, "[store]\nurl = 'sqlite::memory:'")], &[], &[("opwatch.toml:2: store.url: ", "special database of SQLite")]),
    (&[(MAIN, "[store]\nurl = 'sqlite:file:x.db'")], &[], &[("opwatch.toml:2: store.url: ", "special database of SQLite")]),
    (&[(MAIN, "[store]\nurl = 'sqlite:x.db?mode=ro'")], &[], &[("opwatch.toml:2: store.url: ", "options after a question mark")]),
    (&[(MAIN, "[store]\nurl = 'sqlite:state/'")], &[], &[("opwatch.toml:2: store.url: ", "names a folder")]),
    (&[(MAIN, "[accounts.a]\napi = 3\nmethod = true\nsignature_method = 'hmacsha256'\nca_file = []")], CREDENTIALS,
        &[("opwatch.toml:2: accounts.a.api: ", "does not fit; write one of \"2.0\", \"3.0\""), ("opwatch.toml:3: accounts.a.method: ", "write one of \"GET\", \"POST\""), ("opwatch.toml:4: accounts.a.signature_method: ", "did you mean \"HmacSHA256\"?"), ("opwatch.toml:5: accounts.a.ca_file: ", "a list does not fit; write a path")]),
    (&[(MAIN, "[accounts.a]\nsecret_id = 'AKID'\nsecret_key_file = 'k'"), ("k", "AKID\nhunter2\n")], &[], &[("opwatch.toml:3: accounts.a.secret_key_file: ", "k holds more than one line; write the secret alone into it")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl_file = 'url'"), ("url", "https://h/hunter2\nhttps://h/hunter2\n")], &[], &[("opwatch.toml:3: sinks.ops.url_file: ", "url holds more than one line")]),
    // Files of another form.
    (&[(MAIN, "poll:\n  jitter: 0.1\n  timeout: 1h\n")], &[], &[("opwatch.toml:1: ", "is not TOML: key with no value; write key = value")]),
    (&[(MAIN, "{\"poll\": {\"jitter\": 0.1}}")], &[], &[("opwatch.toml:1: ", "write key = value, a [section]")]),
    (&[(MAIN, "// comment\n[poll]\n; comment")], &[], &[("opwatch.toml:1: ", "a comment after #"), ("opwatch.toml:3: ", "a comment after #")]),
    (&[(MAIN, "[poll]\ntimeout = 24h")], &[], &[("opwatch.toml:2: ", "a text in quotes")]),
    (&[(MAIN, "[sinks.a]\nallow_link_local = True\npath = \"C:\\users\\x\"\n\n[accounts.北京]\nregion = \"hunter2")], &[],
        &[("opwatch.toml:2: ", "write true or false"), ("opwatch.toml:3: ", "a backslash is written \\\\"), ("opwatch.toml:5: ", "in quotes"), ("opwatch.toml:6: ", "close the text with a quote")]),
    (&[(MAIN, "[sinks.a]\ntype = 'file'\npath = 'x'\n[sinks.a]\ntype = 'file'\npath = 'y'")], &[], &[("opwatch.toml:4: ", "duplicate key; keep one of the two")]),
    (&[(MAIN, "[poll]\njitter = 0.1"), ("conf.d/a.toml", "[poll"), ("conf.d/b.toml", "poll = ")], &[], &[("conf.d/a.toml:1: ", "close the section's name"), ("conf.d/b.toml:1: ", "write after the `=`")]),
    // Credentials.
    (&[(MAIN, "[accounts.default]\nregion = 'bj'")], &[], &[("opwatch.toml:1: accounts.default: ", "has no credentials")]),
    (&[(MAIN, "[accounts.default]\nregion = 'bj'")], &[("TENCENTCLOUD_SECRET_ID", "\"AKID\""), ("TENCENTCLOUD_SECRET_KEY", "hunter2")], &[("opwatch.toml:1: accounts.default: ", "TENCENTCLOUD_SECRET_ID has quotes that are a part of the value")]),
    (&[(MAIN, "[accounts.default]\nregion = 'bj'")], &[("TENCENTCLOUD_SECRET_ID", "AKID"), ("TENCENTCLOUD_SECRET_KEY", "hunter2 ")], &[("opwatch.toml:1: accounts.default: ", "TENCENTCLOUD_SECRET_KEY holds blanks or line ends")]),
    (&[(MAIN, "[accounts.default]\nregion = 'bj'")], &[("TENCENTCLOUD_SECRET_ID", "AK\u{ff29}D"), ("TENCENTCLOUD_SECRET_KEY", "hunter2\n")], &[("opwatch.toml:1: accounts.default: ", "TENCENTCLOUD_SECRET_ID holds letters that no credential has")]),
    (&[(MAIN, "[accounts.default]\nsecret_id = 'AKID'")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.secret_id: ", "secret_key_file")]),
    (&[(MAIN, "[accounts.default]\nsecret_key = 'hunter2'")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.secret_key: ", "secret_id")]),
    (&[(MAIN, "[accounts.default]\nsecret_id = 'AKID'\nsecret_key = 'hunter2'\nsecret_key_file = 'k'")], &[], &[("opwatch.toml:4: accounts.default.secret_key_file: ", "keep one")]),
    (&[(MAIN, "[accounts.default]\nsecret_id = 'AKID'\nsecret_key_file = 'k'")], &[], &[("opwatch.toml:3: accounts.default.secret_key_file: ", "cannot read")]),
    (&[(MAIN, "[accounts.default]\nsecret_id = 'AKID'\nsecret_key_file = 'k'"), ("k", "\n")], &[], &[("opwatch.toml:3: accounts.default.secret_key_file: ", "is empty")]),
    (&[(MAIN, "# nothing")], &[("TENCENTCLOUD_SECRET_KEY", "hunter2")], &[("TENCENTCLOUD_SECRET_KEY: ", "set both")]),
    (&[(MAIN, "[accounts.a]")], &[("TENCENTCLOUD_SECRET_ID", "AKID")], &[("opwatch.toml:1: accounts.a: ", "TENCENTCLOUD_SECRET_KEY is not set")]),
    (&[(MAIN, "[accounts.a]\ncredentials = 'cvm-role'\n[accounts.b]\ncredentials = 'hunter2'\n[accounts.c]\ncredentials = 'flie'")], CREDENTIALS,
        &[("opwatch.toml:2: accounts.a.credentials: ", "write one of \"auto\", \"config\", \"env\", \"file\", \"tccli\""), ("opwatch.toml:4: accounts.b.credentials: ", "write one of"), ("opwatch.toml:6: accounts.c.credentials: ", "did you mean \"file\"?")]),
    (&[(MAIN, "[accounts.a]\ncredentials = 'config'\n[accounts.b]\ncredentials = 'env'\nsecret_id = 'AKID'\nsecret_key = 'hunter2'")], CREDENTIALS,
        &[("opwatch.toml:2: accounts.a.credentials: ", "write `secret_id`"), ("opwatch.toml:5: accounts.b.secret_id: ", "leave out one")]),
    (&[(MAIN, "[accounts.a]\ncredentials = 'env'\n[accounts.b]\ncredentials = 'file'\n[accounts.c]\ncredentials = 'tccli'")], &[("HOME", "/no/such/home"), ("TCCLI_PROFILE", "ops")],
        &[("opwatch.toml:2: accounts.a.credentials: ", "set TENCENTCLOUD_SECRET_ID"), ("opwatch.toml:4: accounts.b.credentials: ", "as the source, but /no/such/home/.tencentcloud/credentials and /etc"), ("opwatch.toml:6: accounts.c.credentials: ", "as the source, but /no/such/home/.tccli/ops.credential")]),
    (&[(MAIN, "[accounts.a]\ncredentials = 'tccli'")], &[("HOME", "/root"), ("TCCLI_PROFILE", "../x")], &[("opwatch.toml:2: accounts.a.credentials: ", "plain name")]),
    (&[(MAIN, "[accounts.a]")], &[("TENCENTCLOUD_CREDENTIALS_FILE", "/no/such/file")], &[("opwatch.toml:1: accounts.a: ", "cannot read /no/such/file")]),
    (&[(MAIN, "# nothing")], &[("TENCENTCLOUD_CREDENTIALS_FILE", "/no/such/file")], &[("cannot read /no/such/file", "check its name")]),
    (&[(MAIN, "[accounts.default]\nendpoint = 'http://bm.api.qcloud.com'")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.endpoint: ", "write https")]),
    (&[(MAIN, "[accounts.default]\nendpoint = 'https://u:hunter2@h'")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.endpoint: ", "user or a password")]),
    (&[(MAIN, "[accounts.default]\napi = '3'\nproxy = 'socks5://u:hunter2@p'\nca_file = 'ca.pem'"), ("ca.pem", "hunter2")], CREDENTIALS,
        &[("opwatch.toml:2: accounts.default.api: ", "did you mean \"3.0\"?"), ("opwatch.toml:3: accounts.default.proxy: ", "neither http"), ("opwatch.toml:4: accounts.default.ca_file: ", "no certificate")]),
    (&[(MAIN, "[accounts.default]\napi = 3.0\nproxy = 3128\nca_file = 'missing.pem'")], CREDENTIALS,
        &[("opwatch.toml:2: accounts.default.api: ", "does not fit; write one of \"2.0\", \"3.0\""), ("opwatch.toml:3: accounts.default.proxy: ", "a text, in quotes"), ("opwatch.toml:4: accounts.default.ca_file: ", "cannot read")]),
    (&[(MAIN, "[accounts.default]\nproxy = 'http://u:hunter2@p/x'\nca_file = ''")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.proxy: ", "leave out"), ("opwatch.toml:3: accounts.default.ca_file: ", "is empty")]),
    (&[(MAIN, "[accounts.default]\nendpoint = 'http://127.0.0.1:1'\nproxy = 'http://u:hunter2@p:3128'")], CREDENTIALS, &[("opwatch.toml:3: accounts.default.proxy: ", "to another machine")]),
    (&[(MAIN, "[accounts.default]\nsigned_host = 'https://h/x'")], CREDENTIALS, &[("opwatch.toml:2: accounts.default.signed_host: ", "is not a host")]),
    // Sinks.
    (&[(MAIN, "[sinks.audit]\npath = 'x'")], &[], &[("opwatch.toml:1: sinks.audit.type: ", "\"file\"")]),
    (&[(MAIN, "[sinks.audit]\ntype = 'fiel'\npath = 'x'")], &[], &[("opwatch.toml:2: sinks.audit.type: ", "did you mean `file`?")]),
    (&[(MAIN, "[sinks.audit]\ntype = 'nats'\nurl = 'nats://h/hunter2'")], &[], &[("opwatch.toml:2: sinks.audit.type: ", "write one of `file`, `webhook`, `exec`")]),
    (&[(MAIN, "[sinks.audit]\ntype = 'file'")], &[], &[("opwatch.toml:1: sinks.audit.path: ", "is missing")]),
    (&[(MAIN, "[sinks.audit]\ntype = 'file'\npath = 3\nretry = { initial = '1s', maxx = '2s' }\nbatsh = '3s'")], &[],
        &[("opwatch.toml:3: sinks.audit.path: ", "write a path"), ("opwatch.toml:4: sinks.audit.retry.maxx: ", "did you mean `max`?"), ("opwatch.toml:5: sinks.audit.batsh: ", "did you mean `batch`?")]),
    (&[(MAIN, "[sinks.audit]\ntype = 'file'\npath = ''\n[sinks.audit.retry]\ninitial = '1h'")], &[], &[("opwatch.toml:3: sinks.audit.path: ", "is empty"), ("opwatch.toml:5: sinks.audit.retry.initial: ", "longer than `retry.max`")]),
    (&[(MAIN, "[sinks.log]\ntype = 'file'\npath = '-'")], &[], &[("opwatch.toml:2: sinks.log.type: ", "built in")]),
    (&[(MAIN, "[sinks.log]\npath = '-'")], &[], &[("opwatch.toml:2: sinks.log.path: ", "is a key of type \"file\"")]),
    (&[(MAIN, "[sinks]\naudit = 'file'")], &[], &[("opwatch.toml:2: sinks.audit: ", "is not a table")]),
    (&[(MAIN, "[sinks.a]\ntype = 'file'\npath = 'x'\n[sinks.b]\ntype = 'file'\npath = './x'\n[sinks.c]\ntype = 'file'\npath = 'y'\n[sinks.d]\ntype = 'file'\npath = 'deep/../x'"), ("deep/file", "")], &[],
        &[("opwatch.toml:6: sinks.b.path: ", "is the same file as that of [sinks.a]"), ("opwatch.toml:12: sinks.d.path: ", "[sinks.a]")]),
    (&[(MAIN, "[sinks.a]\ntype = 'file'\npath = '-'\n[sinks.b]\ntype = 'file'\npath = '-'")], &[], &[("opwatch.toml:6: sinks.b.path: ", "is the same file as that of [sinks.a]")]),
    (&[(MAIN, "[sinks.a]\ntype = 'file'\npath = '-'\n[sinks.b]\ntype = 'file'\npath = '/dev/stdout'")], &[], &[("opwatch.toml:6: sinks.b.path: ", "is the same file as that of [sinks.a]")]),
    // Webhooks.
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'")], &[], &[("opwatch.toml:1: sinks.ops.url: ", "or `url_file`")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurll = 'https://h/hunter2'")], &[], &[("opwatch.toml:3: sinks.ops.urll: ", "did you mean `url`?")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl = 'https://h/${HUNTER}'")], &[], &[("opwatch.toml:3: sinks.ops.url: ", "HUNTER is not set")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl = 'https://h/hunter2'\nurl_file = 'url'"), ("url", "https://h/hunter2")], &[], &[("opwatch.toml:4: sinks.ops.url_file: ", "keep one")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl_file = 'url'")], &[], &[("opwatch.toml:3: sinks.ops.url_file: ", "cannot read")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl_file = 'url'"), ("url", "\n")], &[], &[("opwatch.toml:3: sinks.ops.url_file: ", "is empty")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl_file = 'url'"), ("url", "hunter2\n")], &[], &[("opwatch.toml:3: sinks.ops.url_file: ", "holds no address")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl_file = ''")], &[], &[("opwatch.toml:3: sinks.ops.url_file: ", "is empty")]),
    (&[(MAIN, "[sinks.a]\ntype = 'webhook'\nurl = 'http://h/hunter2'\n[sinks.b]\ntype = 'webhook'\nurl = 'ftp://h/hunter2'\n[sinks.c]\ntype = 'webhook'\nurl = 'https://h/#hunter2'\n[sinks.d]\ntype = 'webhook'\nurl = 'https://2852039166/hunter2'\n[sinks.e]\ntype = 'webhook'\nurl = 3")], &[],
        &[("opwatch.toml:3: sinks.a.url: ", "plain http"), ("opwatch.toml:6: sinks.b.url: ", "holds no address"), ("opwatch.toml:9: sinks.c.url: ", "never sent"), ("opwatch.toml:12: sinks.d.url: ", "`allow_link_local`"), ("opwatch.toml:15: sinks.e.url: ", "a text, in quotes")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl = 'https://h/'\nmethod = 'GET'\ntimeout = '0s'\nproxy = 'http://u:hunter2@p/x'\nallow_link_local = 'no'")], &[],
        &[("opwatch.toml:4: sinks.ops.method: ", "\"POST\", \"PUT\""), ("opwatch.toml:5: sinks.ops.timeout: ", "more than 0s"), ("opwatch.toml:6: sinks.ops.proxy: ", "leave out"), ("opwatch.toml:7: sinks.ops.allow_link_local: ", "true or false")]),
    (&[(MAIN, "[sinks.ops]\ntype = 'webhook'\nurl = 'https://h/'\nsecrets = ['whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldY', 'whsec_hunter2!', 'hunter2']\n[sinks.ops.headers]\n'a b' = 'hunter2'\nX-A = \"hunter2\\n\"\nhost = 3\nwebhook-id = 'hunter2'")], &[],
        &[("opwatch.toml:4: sinks.ops.secrets.1: ", "whsec_ and base64"), ("opwatch.toml:4: sinks.ops.secrets.2: ", "whsec_ and base64"), ("opwatch.toml:6: sinks.ops.headers.\"a b\": ", "is not the name"), ("opwatch.toml:7: sinks.ops.headers.X-A: ", "a header cannot have"),
          ("opwatch.toml:8: sinks.ops.headers.host: ", "a text, in quotes"), ("opwatch.toml:9: sinks.ops.headers.webhook-id: ", "set by opwatch")]),
    (&[(MAIN, "[sinks.a]\ntype = 'webhook'\nurl = 'https://h/'\ntls = { cert_file = 'me.pem' }\n[sinks.b]\ntype = 'webhook'\nurl = 'https://h/'\ntls = { key_file = 'me.key', cafile = 'x' }\n[sinks.c]\ntype = 'webhook'\nurl = 'https://h/'\ntls = { cert_file = 'me.pem', key_file = 'me.key', ca_file = 'ca.pem' }"), ("me.pem", "hunter2"), ("me.key", "hunter2"), ("ca.pem", "hunter2")], &[],
        &[("opwatch.toml:4: sinks.a.tls.cert_file: ", "write `key_file`"), ("opwatch.toml:8: sinks.b.tls.cafile: ", "did you mean `ca_file`?"), ("opwatch.toml:8: sinks.b.tls.key_file: ", "write `cert_file`"),
          ("opwatch.toml:12: sinks.c.tls.ca_file: ", "holds no certificate"), ("opwatch.toml:12: sinks.c.tls.cert_file: ", "holds no certificate")]),
    (&[(MAIN, "[sinks.a]\ntype = 'webhook'\nurl = 'https://h/'\ntls = { cert_file = 'me.pem', key_file = 'me.key' }"), ("me.pem", CERTIFICATE), ("me.key", "hunter2")], &[], &[("opwatch.toml:4: sinks.a.tls.key_file: ", "holds no readable private key")]),
    (&[(MAIN, "[sinks.a]\ntype = 'webhook'\nurl = 'https://h/'\ntemplate = \"hunter2\\n{{ data.task.name \"\n[sinks.b]\ntype = 'webhook'\nurl = 'https://h/'\ntemplate_file = 't.j2'\n[sinks.c]\ntype = 'webhook'\nurl = 'https://h/'\ntemplate = 'x'\ntemplate_file = 't.j2'"), ("t.j2", "hunter2\n\n{{ data|shout }}")], &[],
        &[("opwatch.toml:4: sinks.a.template: ", "line 2 of the template: "), ("opwatch.toml:8: sinks.b.template_file: ", "t.j2: line 3 of the template: "), ("opwatch.toml:13: sinks.c.template_file: ", "keep one")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exce'\ncommand = ['x']")], &[], &[("opwatch.toml:2: sinks.page.type: ", "did you mean `exec`?")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'")], &[], &[("opwatch.toml:1: sinks.page.command: ", "is missing")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncommand = '/bin/on-done --key hunter2'\ntimeout = 10")], &[],
        &[("opwatch.toml:3: sinks.page.command: ", "write a list of texts, the program first, such as [\"/usr/local/bin/on-done\", \"--flag\"]"), ("opwatch.toml:4: sinks.page.timeout: ", "\"90s\"")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncommand = ['x', ['hunter2']]")], &[], &[("opwatch.toml:3: sinks.page.command.1: ", "write a text, in quotes")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncommand = []\ntimeout = '0s'")], &[], &[("opwatch.toml:3: sinks.page.command: ", "names no program"), ("opwatch.toml:4: sinks.page.timeout: ", "more than 0s")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncommand = ['']")], &[], &[("opwatch.toml:3: sinks.page.command: ", "names no program")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncommand = ['x', \"hunter2\\u0000\"]")], &[], &[("opwatch.toml:3: sinks.page.command: ", "NUL")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncomand = ['x', 'hunter2']\npath = 'x'")], &[],
        &[("opwatch.toml:1: sinks.page.command: ", "is missing"), ("opwatch.toml:3: sinks.page.comand: ", "did you mean `command`?"), ("opwatch.toml:4: sinks.page.path: ", "is a key of type \"file\"")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncommand = ['${X}']")], &[], &[("opwatch.toml:3: sinks.page.command.0: ", "X is not set")]),
    (&[(MAIN, "[sinks.audit]\ntype = 'file'\npath = 'x'\noutcomes = ['success', 'sucess']\nlabels = { team = 3 }\nrate = 0\nmax_in_flight = 0\nretry = { give_up_after = '0s' }")], &[],
        &[("opwatch.toml:4: sinks.audit.outcomes", "success"), ("opwatch.toml:5: sinks.audit.labels.team: ", "a text"), ("opwatch.toml:6: sinks.audit.rate: ", "100/1m"), ("opwatch.toml:7: sinks.audit.max_in_flight: ", "from 1 to 1000"), ("opwatch.toml:8: sinks.audit.retry.give_up_after: ", "never")]),
    (&[(MAIN, "[sinks.page]\ntype = 'exec'\ncommand = ['/bin/true']\nbatch = '5s'\nevents = []")], &[],
        &[("opwatch.toml:4: sinks.page.batch: ", "each event is sent alone"), ("opwatch.toml:5: sinks.page.events: ", "is an empty list")]),
    // Variables in strings.
    (&[(MAIN, "[store]\nurl = 'sqlite:${DB}'")], &[], &[("opwatch.toml:2: store.url: ", "DB is not set")]),
    (&[(MAIN, "[accounts.default]\nsecret_id = 'AKID'\nsecret_key = 'hunter2${'")], &[], &[("opwatch.toml:3: accounts.default.secret_key: ", "not closed")]),
    (&[(MAIN, "[accounts.default]\nsecret_id = 'AKID'\nmax_in_flight = 0\nendpoint = 'x'")], &[],
        &[("opwatch.toml:2: accounts.default.secret_id: ", "has no SecretKey"), ("opwatch.toml:3: accounts.default.max_in_flight: ", "from 1"), ("opwatch.toml:4: accounts.default.endpoint: ", "is not an address")]),
    (&[(MAIN, "[poll]\ninitial_interval = '2m'\nmax_interval = '${X}'\n[sinks.a]\ntype = '${X}'\n[sinks.b]\ntype = 'file'\npath = '${X}'")], &[],
        &[("opwatch.toml:3: poll.max_interval: ", "X is not set"), ("opwatch.toml:5: sinks.a.type: ", "X is not set"), ("opwatch.toml:8: sinks.b.path: ", "X is not set")]),
    // The environment.
    (&[(MAIN, "# nothing")], &[("OPWATCH__POLL__JITER", "0.1")], &[("OPWATCH__POLL__JITER: ", "did you mean `jitter`?")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__POOL__JITTER", "0.1")], &[("OPWATCH__POOL__JITTER: ", "did you mean `poll`?")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__POLL__JITTER", "much")], &[("OPWATCH__POLL__JITTER: ", "write a number")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__POLL__JITTER", "0.1"), ("OPWATCH__poll__jitter", "0.2")], &[("OPWATCH__poll__jitter: ", "same key as OPWATCH__POLL__JITTER")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__POLL", "0.1")], &[("OPWATCH__POLL: ", "whole section")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__", "0.1")], &[("OPWATCH__: ", "matches no key")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__TASKS__0__ID", "1")], &[("OPWATCH__TASKS__0__ID: ", "write them into a file")]),
    (&[(MAIN, "[sinks.audit]\ntype = 'file'\npath = 'x'")], &[("OPWATCH__SINKS__ADUIT__PATH", "y")], &[("OPWATCH__SINKS__ADUIT__PATH: ", "did you mean `audit`?")]),
    (&[(MAIN, GOOD)], &[("OPWATCH__ACCOUNTS__DEFAULT__SECRET_KEE", "hunter2")], &[("OPWATCH__ACCOUNTS__DEFAULT__SECRET_KEE: ", "did you mean `secret_key`?")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__POLL_JITTER", "0.1")], &[("OPWATCH__POLL_JITTER: ", "write POLL__JITTER")]),
    (&[(MAIN, "[sinks.a]\ntype = 'webhook'\nurl = 'https://h/'")], &[("OPWATCH__SINKS__A__RETRY_MAX", "1s"), ("OPWATCH__SINKS__A__LABELS__TEAM", "dba"), ("OPWATCH__SINKS__A__HEADERS", "hunter2"), ("OPWATCH__SINKS__A__ALLOW_LINK_LOCAL", "yes")],
        &[("OPWATCH__SINKS__A__RETRY_MAX: ", "write RETRY__MAX"), ("OPWATCH__SINKS__A__LABELS__TEAM: ", "free names"), ("OPWATCH__SINKS__A__HEADERS: ", "write them into a file"), ("OPWATCH__SINKS__A__ALLOW_LINK_LOCAL: ", "true or false")]),
    (&[(MAIN, "# nothing")], &[("OPWATCH__TASK_FILES", "a.tasks,b.tasks")], &[("OPWATCH__TASK_FILES: ", "a.tasks,b.tasks; write the file")]),
    (&[(MAIN, "[poll]\njitter = 3"), ("conf.d/a.toml", "[poll]\ntimeout = 5"), ("conf.d/b.toml", "[log]\nlevel = 'verbose'")], &[("OPWATCH__POLL__MULTIPLIER", "0")],
        &[("opwatch.toml:2: poll.jitter: ", "from 0 to 1"), ("conf.d/a.toml:2: poll.timeout: ", "or \"never\""), ("conf.d/b.toml:2: log.level: ", "write one of"), ("OPWATCH__POLL__MULTIPLIER: ", "from 1 to 1000")]),
    // Tasks in the configuration.
    (&[(MAIN, "tasks = 3")], &[], &[("opwatch.toml:1: tasks: ", "write [[tasks]]")]),
    (&[(MAIN, "[tasks]\nid = 3")], &[], &[("opwatch.toml:1: tasks: ", "write [[tasks]]")]),
    (&[(MAIN, "[[tasks]]\nid = -1\nnaem = 'x'\n\n[[tasks]]\nid = 1\ntimeout = 5")], &[],
        &[("opwatch.toml:2: tasks.id: ", "an integer from 0"), ("opwatch.toml:3: tasks.naem: ", "did you mean `name`?"), ("opwatch.toml:7: tasks.timeout: ", "or \"never\"")]),
    (&[(MAIN, "[[tasks]]\nid = 18446744073709551616")], &[], &[("opwatch.toml:2: tasks.id: ", "18446744073709551615")]),
    (&[(MAIN, "[[tasks]]\nid = 1\nlabels = { a = 1 }")], &[], &[("opwatch.toml:3: tasks.labels.a: ", "a text, in quotes")]),
    (&[(MAIN, "[accounts.main]\nregion = 'bj'\n[[tasks]]\nname = 'x'\n[[tasks]]\nid = 'x1'\n[[tasks]]\nid = 2\noperation = 'bn'\n[[tasks]]\nid = 3\naccount = 'mian'\n[[tasks]]\nid = 4\nsinks = ['lgo']")], CREDENTIALS,
        &[("opwatch.toml:3: tasks.id: ", "is missing"), ("opwatch.toml:6: tasks.id: ", "an integer from 0"), ("opwatch.toml:9: tasks.operation: ", "there is no operation \"bn\"; write one of `bm`, `bm3`"),
          ("opwatch.toml:12: tasks.account: ", "did you mean `main`?"), ("opwatch.toml:15: tasks.sinks: ", "there is no sink \"lgo\"; write one of `log`")]),
    (&[(MAIN, "[accounts.main]\n[[tasks]]\nid = 4")], CREDENTIALS, &[("opwatch.toml:2: tasks.region: ", "write `region`")]),
    (&[(MAIN, "[[tasks]]\nid = 4")], &[], &[("opwatch.toml:1: tasks.account: ", "no account exists")]),
    (&[(MAIN, "[accounts.a]\n[accounts.b]\n[[tasks]]\nid = 4")], CREDENTIALS, &[("opwatch.toml:3: tasks.account: ", "several accounts")]),
    (&[(MAIN, GOOD), ("conf.d/a.toml", "[[tasks]]\nid = 4"), ("conf.d/b.toml", "\n[[tasks]]\nid = 4\nname = 'x'")], &[], &[("conf.d/b.toml:2: tasks: ", "conf.d/a.toml:1 with other settings")]),
    (&[(MAIN, "[accounts.main]\nregion = 'bj'\n[[tasks]]\nid = 4\nparams = { Nonce = '1' }\n[[tasks]]\nid = 5\ntimeout = '0s'\n[[tasks]]\nid = 6\nparams = { TaskId = '1' }")], CREDENTIALS,
        &[("opwatch.toml:5: tasks.params: ", "set by opwatch itself"), ("opwatch.toml:8: tasks.timeout: ", "never"), ("opwatch.toml:11: tasks.params: ", "`TaskId` is set")]),
    // All at once; errors that follow from a reported error are not reported.
    (&[(MAIN, "task_files = ['a.tasks']\n[poll]\njitter = 2\n[accounts.a]\nregion = 3\n[sinks.b]\ntype = 'fiel'\n[[tasks]]\nid = 1\naccount = 'a'\nsinks = ['b']\n[[tasks]]\nid = 2\naccount = 'aa'"), ("a.tasks", "x\n{\"id\":3,\"sinks\":[\"b\"]}\n")], CREDENTIALS,
        &[("opwatch.toml:3: poll.jitter: ", "from 0 to 1"), ("opwatch.toml:5: accounts.a.region: ", "a text"), ("opwatch.toml:7: sinks.b.type: ", "did you mean `file`?"), ("opwatch.toml:14: tasks.account: ", "did you mean `a`?"), ("a.tasks:1: id: ", "an integer from 0")]),
    (&[(MAIN, "[poll]\ntask_files = ['a.tasks']\n[[tasks]]\nid = 1\nregion = 'bj'\ntask_files = []")], CREDENTIALS,
        &[("opwatch.toml:2: poll.task_files: ", "above the first [section]"), ("opwatch.toml:6: tasks.task_files: ", "above the first [section]")]),
    // Task files.
    (&[(MAIN, "task_files = [\n'b.tasks',\n'a.tasks']\n[accounts.main]\nregion = 'bj'"), ("b.tasks", "1")], CREDENTIALS, &[("opwatch.toml:3: task_files: ", "there is no a.tasks; write the file")]),
    (&[(MAIN, "task_files = ['.']\n[accounts.main]\nregion = 'bj'")], CREDENTIALS, &[(".: ", "cannot read")]),
    (&[(MAIN, "task_files = ['a.tasks']\n[accounts.main]\nregion = 'bj'"), ("a.tasks", "# list\n\n1\nx\n2 # two\n{\"id\":3,\"nmae\":\"x\",\"timeout\":1}\n{\"id\":4\n{\"id\":5,\"id\":6}\n")], CREDENTIALS,
        &[("a.tasks:4: id: ", "an integer from 0"), ("a.tasks:5: id: ", "line of its own"), ("a.tasks:6: timeout: ", "or \"never\""), ("a.tasks:6: nmae: ", "did you mean `name`?"), ("a.tasks:7: ", "at column 7, the object is not closed"), ("a.tasks:8: ", "the key `id` occurs twice; write a task on one line, such as {\"id\": 1000800001")]),
    (&[(MAIN, "task_files = ['a.tasks']\n[accounts.main]\nregion = 'bj'"), ("a.tasks", "1\n01\n{\"id\":\"1\"}\n{\"id\":1,\"name\":\"x\"}\n")], CREDENTIALS, &[("a.tasks:4: ", "a.tasks:1 with other settings")]),
    (&[(MAIN, "task_files = ['a.tasks']\n[accounts.main]\nregion = 'bj'"), ("a.tasks", "[[tasks]]\nid = 1\n[1,2]\n1 2\n\"3\"\n// 4\n1 # x\n{\"id\": 1} # x\n{'id': 5}\n{\"id\": 6,}\n{\"id\": 7, \"name\": \"x}\n{\"TaskId\": 8}\n{\"id\": 9, \"labels\": [\"a\"]}\n{\"id\": 10, \"name\": True}\n0x10\n")], CREDENTIALS,
        &[("a.tasks:1: id: ", "a task here is a task id or a JSON object"), ("a.tasks:2: id: ", "a task here is a task id"), ("a.tasks:3: id: ", "without quotes and brackets"), ("a.tasks:4: id: ", "without quotes and brackets"), ("a.tasks:5: id: ", "without quotes"), ("a.tasks:6: id: ", "a comment begins with #"), ("a.tasks:7: id: ", "a comment begins with #"),
          ("a.tasks:8: ", "at column 11, text follows after the end of the object"), ("a.tasks:9: ", "no double quotes"), ("a.tasks:10: ", "a `,` has nothing after it"), ("a.tasks:11: ", "a text is not closed"), ("a.tasks:12: TaskId: ", "did you mean `id`?"), ("a.tasks:13: labels: ", "a list does not fit; write a table, in { }"),
          ("a.tasks:14: ", "this is not a value"), ("a.tasks:15: id: ", "an integer from 0")]),
];

#[test]
fn every_wrong_configuration_is_refused_with_file_line_key_and_what_to_write() {
    let mut failures = Vec::new();
    for case @ (files, variables, expected) in CASES {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in *files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let start = format!("{}/", folder.path().display());
        let reported: Vec<String> =
            match load(&folder.path().join(MAIN), &variables.iter().copied().collect()) {
                Ok(_) => Vec::new(),
                Err(problems) => {
                    problems.iter().map(|problem| problem.to_string().replace(&start, "")).collect()
                }
            };
        let all_told = expected
            .iter()
            .all(|(place, part)| reported.iter().any(|line| line.starts_with(place) && line.contains(part)));
        if !all_told || reported.len() != expected.len() || reported.iter().any(|line| line.contains(SECRET))
        {
            failures.push(format!("{case:#?}\nis told as {reported:#?}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), CASES.len(), failures.join("\n"));
}

#[test]
fn there_are_sixty_kinds_of_errors_and_more_to_be_reported() {
    assert!(CASES.len() >= 60, "{}", CASES.len());
}

#[test]
fn a_file_that_is_no_text_and_a_folder_are_refused_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("binary");
    std::fs::write(&binary, b"\x7fELF\n\xff\xfe").unwrap();
    let environment = Environment::default();
    assert!(
        load(&binary, &environment).unwrap_err()[0]
            .to_string()
            .ends_with("binary:2: is not UTF-8 text; save it as UTF-8, or name a TOML file")
    );
    std::fs::write(&binary, b"\xff\xfe[\0p\0").unwrap();
    assert!(
        load(&binary, &environment).unwrap_err()[0]
            .to_string()
            .ends_with("binary:1: is UTF-16 text; save it as UTF-8")
    );
    assert!(load(folder.path(), &environment).unwrap_err()[0].to_string().contains("is a folder"));
}
