"""The descriptor pool of websocketmanager.proto and of what it imports.

Apart from the default pool, because another file of package `virtufin` may be
loaded in the same process with clashing names.
"""

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
for _file in (descriptor_pb2, http_pb2, annotations_pb2):
    POOL.AddSerializedFile(_file.DESCRIPTOR.serialized_pb)
