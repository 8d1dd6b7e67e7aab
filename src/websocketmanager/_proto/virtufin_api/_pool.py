"""The descriptor pool of virtufin_api.proto: apart, as names clash in package `virtufin`."""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
