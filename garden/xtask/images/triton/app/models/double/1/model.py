"""Doubles what it gets."""

import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = backend.get_input_tensor_by_name(request, "X").as_numpy()
            answers.append(backend.InferenceResponse([backend.Tensor("Y", x * 2)]))
        return answers
