//! A program, before an exec sink.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::{Counterpart, CounterpartBehaviour};
use crate::sinks::{Sink, exec};

/// A shell script that behaves as it was last written.
pub struct Program(tempfile::TempDir);

impl Program {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Counterpart for Program {
    const TYPE: &'static str = "exec";

    async fn start() -> Self {
        let mut program = Self(tempfile::tempdir().unwrap());
        program.turn(CounterpartBehaviour::Taking).await;
        program
    }

    fn sink(&self) -> Box<dyn Sink> {
        let config = json!({"command": [self.path("on-done"), self.secrets()[0]], "timeout": "400ms"});
        Box::new(exec::Exec::new(
            &serde_json::from_value(config).unwrap(),
            Default::default(),
            Default::default(),
        ))
    }

    async fn turn(&mut self, mood: CounterpartBehaviour) -> bool {
        let keep = format!("cat >>'{}'", self.path("taken").display());
        let behaviour = match mood {
            CounterpartBehaviour::Taking => keep,
            CounterpartBehaviour::Slow => format!("sleep 0.05; {keep}"),
            CounterpartBehaviour::Dying => "kill -9 $$".to_owned(),
            CounterpartBehaviour::Silent => "sleep 100".to_owned(),
            CounterpartBehaviour::Picky => "exit 65".to_owned(),
            CounterpartBehaviour::Down => {
                let _ = fs::remove_file(self.path("on-done"));
                return true;
            }
            // Root may execute a file unless no user may.
            CounterpartBehaviour::Closed => {
                fs::write(self.path("on-done"), "").unwrap();
                fs::set_permissions(self.path("on-done"), fs::Permissions::from_mode(0o600)).unwrap();
                return true;
            }
        };
        // By renaming: a program that is being written cannot be started.
        fs::write(self.path("new"), format!("#!/bin/sh\n{behaviour}\n")).unwrap();
        fs::set_permissions(self.path("new"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::rename(self.path("new"), self.path("on-done")).unwrap();
        true
    }

    async fn taken(&mut self) -> Vec<String> {
        let taken = fs::read_to_string(self.path("taken")).unwrap_or_default();
        taken.replace("}{", "}\n{").lines().map(str::to_owned).collect()
    }

    fn secrets(&self) -> Vec<String> {
        vec!["argument-hunter2".to_owned()]
    }
}
