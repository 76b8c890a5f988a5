"""Asks the simulator at ADDRESS as the official SDK for API 2.0 does; prints a line of JSON for each answer.

The SDK speaks https to the cloud's own host and nothing else, so its connection is led to ADDRESS, over plain http; the host
that it signs and names stays the cloud's.

Usage: sdk_2_0.py ADDRESS SECRET_ID SECRET_KEY
"""

import json
import socket
import sys
from http.client import HTTPConnection

from QcloudApi.common import request
from QcloudApi.qcloudapi import QcloudApi

address, secret_id, secret_key = sys.argv[1:]


class Connection(HTTPConnection):
    request_length = 0

    def connect(self):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)))


request.MyHTTPSConnection = Connection


def ask(task, method="GET", hash="HmacSHA1", key=secret_key, region="bj"):
    config = {"Region": region, "secretId": secret_id, "secretKey": key, "method": method, "SignatureMethod": hash}
    return json.loads(QcloudApi("bm", config).call("DescriptionOperationResult", {"taskId": task}))


for method in ["GET", "POST"]:
    for hash in ["HmacSHA1", "HmacSHA256"]:
        for answer in [ask(1, method, hash), ask(2, method, hash), ask(1, method, hash, key="wrong")]:
            print(json.dumps(answer))
