"""Gets a peer or skips the test that needs it."""
import importlib
import shutil
import subprocess
import unittest

from harness import ROOT


def need(module):
    """The module, imported; without it the test is skipped, and says so."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise unittest.SkipTest(f"{module} cannot be had: {error}") from None


def need_program(name, package):
    path = shutil.which(name)
    if path is None:
        raise unittest.SkipTest(f"{name} is not installed (package {package})")
    return path


def proto_classes(name, directory):
    """What proto/NAME defines, as classes of Google's library: a function from full names to them. The directory
    is for what lies between."""
    descriptor = need("google.protobuf.descriptor_pb2")
    pool = need("google.protobuf.descriptor_pool").DescriptorPool()
    factory = need("google.protobuf.message_factory")
    path = directory / f"{name}.desc"
    subprocess.run([need_program("protoc", "protobuf-compiler"), f"--proto_path={ROOT}/proto",
                    f"--descriptor_set_out={path}", name], check=True)
    for file in descriptor.FileDescriptorSet.FromString(path.read_bytes()).file:
        pool.Add(file)
    return lambda full_name: factory.GetMessageClass(pool.FindMessageTypeByName(full_name))
