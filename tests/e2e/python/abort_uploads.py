"""Aborts every open multipart upload of the bucket, as a store's lifecycle rule does.

usage: abort_uploads.py ENDPOINT
"""
import sys

import boto3

client = boto3.client(
    "s3", endpoint_url=sys.argv[1], region_name="us-east-1",
    aws_access_key_id="lakeward-access-key", aws_secret_access_key="S3cret-key+7/of=the=lake",
)
for upload in client.list_multipart_uploads(Bucket="lake").get("Uploads", []):
    client.abort_multipart_upload(Bucket="lake", Key=upload["Key"], UploadId=upload["UploadId"])
