"""Asks the simulator at ADDRESS as the official SDK for API 3.0 does; prints a line of JSON for each answer.

Usage: sdk_3_0.py ADDRESS SECRET_ID SECRET_KEY
"""

import json
import sys

from tencentcloud.bm.v20180423 import bm_client, models
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

address, secret_id, secret_key = sys.argv[1:]


def ask(task, secret_id=secret_id, key=secret_key, region="ap-beijing"):
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=address))
    client = bm_client.BmClient(credential.Credential(secret_id, key), region, profile)
    request = models.DescribeOperationResultRequest()
    request.TaskId = task
    try:
        answer = client.DescribeOperationResult(request)
        parts = {part.InstanceId: part.TaskStatus for part in answer.SubtaskStatusSet}
        return {"status": answer.TaskStatus, "instances": parts}
    except TencentCloudSDKException as error:
        return {"code": error.code, "message": error.message, "has_request_id": bool(error.requestId)}


for answer in [
    ask(1),
    ask(18446744073709551615),
    ask(2),
    ask(1, key="wrong"),
    ask(1, secret_id="AKIDother"),
    ask(1, region="bj"),
    ask("seven"),
]:
    print(json.dumps(answer))
