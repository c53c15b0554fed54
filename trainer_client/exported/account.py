"""What a program takes, counted operator by operator while it runs without values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from market.protocol.errors import InvalidModel
from trainer_client.exported.program import MAX_DIMENSIONS, MAX_LIST, Step

TOUCH_OPERATIONS = 1 << 10
"""What reading or writing one value counts for: memory is that much slower than multiplications of matrices."""

MAX_INNER_STEPS = 20_000
"""Most operators that one operator may be made of: an LSTM over a few hundred steps."""

MAX_ALL_INNER_STEPS = 200_000
"""The same of a whole program."""

_ATTENTION = "scaled_dot_product_attention.default"
"""Its usual kernels do not keep the matrix that it is defined by."""

_DIVISIONS = frozenset({"floor_divide.default", "remainder.Tensor", "remainder.Scalar", "fmod.Tensor", "fmod.Scalar"})
_DIVISIONS_BY_MODE = frozenset({"div.Tensor_mode", "div.Scalar_mode"})


class Account(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts memory and work of whatever is computed inside it, also of what operators compute on their way."""

    def __init__(self, known: set[int], most_bytes: int, most_operations: int) -> None:
        """Begin with nothing.

        Args:
            known: memory that is there already, by `storage_of`.
            most_bytes: of memory; beyond it there is an error.
            most_operations: of work, likewise.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept_bytes = self.touched = self.products = 0
        self._known, self._most_bytes, self._most_operations = known, most_bytes, most_operations
        self._step = ""
        self._steps = self._all_steps = self._passing_bytes = 0
        # What is let go would give its place to another, which then would not be counted.
        self._every: list[Tensor] = []

    @property
    def operations(self) -> int:
        """All work: multiplications and additions of products, and what touching values counts for."""
        return self.products + TOUCH_OPERATIONS * self.touched

    def begin(self, name: str) -> None:
        """Begin with another step of the program."""
        self._step, self._steps, self._passing_bytes = name, 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count one operator, and compute it."""
        self._count_step(func, args)
        given = func(*args, **(kwargs or {}))
        read = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        made = [one for one in tree_leaves(given) if isinstance(one, Tensor)]
        for one in made:
            if one.dim() > MAX_DIMENSIONS:
                raise InvalidModel(f"program: {self._step} gives {one.dim()} dimensions, expected at most 16")
        self._count_memory(read, made, is_view=bool(getattr(func, "is_view", False)))
        self._count_work(func, args, kwargs or {}, given, read + made)
        return given

    def _count_step(self, func: Any, args: tuple[Any, ...]) -> None:
        self._steps += 1
        self._all_steps += 1
        if self._steps > MAX_INNER_STEPS or self._all_steps > MAX_ALL_INNER_STEPS:
            raise InvalidModel(
                f"program: up to {self._step} it takes {self._all_steps} operators, {self._steps} in this one: "
                f"expected at most {MAX_ALL_INNER_STEPS}, {MAX_INNER_STEPS} in one"
            )
        check_parts(func, args)

    def _count_work(self, func: Any, args: Any, kwargs: Any, given: Any, touched: list[Tensor]) -> None:
        # A view touches nothing now, but its gradient fills all that it was taken of.
        self.touched += sum(one.numel() for one in touched)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.products += int(formula(*args, **kwargs, out_val=given))
        if self.operations > self._most_operations:
            raise InvalidModel(
                f"program: up to {self._step} it takes {self.operations} operations, expected at most "
                f"{self._most_operations}"
            )

    def _count_memory(self, read: list[Tensor], made: list[Tensor], *, is_view: bool) -> None:
        new = 0
        for one in made:
            if storage_of(one) not in self._known:
                self._known.add(storage_of(one))
                self._every.append(one)
                new += one.untyped_storage().nbytes()
        if self._step == _ATTENTION:
            self._passing_bytes += new
            new = 0
        self.kept_bytes += new
        # Kernels write out what was expanded without memory of its own.
        wide = 0 if is_view else sum(max(0, one.nbytes - one.untyped_storage().nbytes()) for one in read)
        if (taken := self.kept_bytes + self._passing_bytes + wide) > self._most_bytes:
            raise InvalidModel(
                f"program: up to {self._step} these samples take {taken} bytes, expected at most {self._most_bytes}"
            )


def storage_of(tensor: Tensor) -> int:
    """What tells one piece of memory from another, as long as both are there."""
    return int(tensor.untyped_storage()._cdata)


def check_parts(function: Any, arguments: Sequence[Any]) -> None:
    """Refuse to take a tensor apart into very many: looked at before there are so many.

    Raises:
        InvalidModel: there would be.
    """
    name = function._overloadpacket.__name__
    if name in ("unbind", "split", "chunk", "tensor_split") and isinstance(arguments[0], Tensor):
        parts = _parts(name, arguments[0], list(arguments[1:]))
        if parts > MAX_LIST:
            raise InvalidModel(f"program: {name} gives {parts} tensors, expected at most {MAX_LIST}")


def _parts(name: str, whole: Tensor, rest: list[Any]) -> int:
    how: Any = None if name == "unbind" else rest.pop(0)
    if isinstance(how, list | tuple):
        return len(how)
    if name in ("chunk", "tensor_split"):
        return int(how)
    at = rest[0] if rest else 0
    side = whole.shape[at] if -whole.dim() <= at < whole.dim() else 0
    return int(side) if how is None else -(-int(side) // max(int(how), 1))


def check_division(step: Step, arguments: Sequence[Any]) -> None:
    """Refuse a division of whole numbers by what is not a number of at least 1.

    The least number of its type by -1 ends the process on most machines, and by 0 the training.

    Raises:
        InvalidModel: it is one.
    """
    divides = step.name in _DIVISIONS or (step.name in _DIVISIONS_BY_MODE and arguments[-1] is not None)
    if not divides or not isinstance(arguments[0], Tensor | int):
        return
    floats = any(
        one.is_floating_point() if isinstance(one, Tensor) else isinstance(one, float) for one in arguments[:2]
    )
    divisor = arguments[1]
    if not floats and not (isinstance(divisor, int) and divisor >= 1):
        what = "a tensor" if isinstance(divisor, Tensor) else repr(divisor)
        raise InvalidModel(f"program: {step.name} of whole numbers by {what}, expected a number of at least 1")
