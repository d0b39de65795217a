"""`dataclass`, as `dataclasses` has it, for records that cost little to define.

`dataclasses.dataclass` writes and compiles five methods for each frozen class: 0.5 ms a class, which for the
hundred classes of a run was half of the time until its first test (docs/explanation/decisions.md). Here all
frozen classes share methods that go by the fields. What is made is a dataclass to everybody:
`dataclasses.fields`, `dataclasses.replace` and type checkers, to whom it is the standard library's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(*, frozen=False, slots=False, kw_only=False):
        """Return a decorator like that of `dataclasses.dataclass`; the quick one for frozen records."""
        if not (frozen and slots and kw_only):
            return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only)
        return _record

    def _record(cls):
        if hasattr(cls, "__post_init__"):
            raise TypeError(f"{cls.__qualname__}: records have no __post_init__")
        made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(cls)
        fields = dataclasses.fields(made)
        made.__init__ = _init_for(made, fields)
        values = _values_for([field.name for field in fields if field.compare])
        made.__eq__ = lambda self, other: (
            values(self) == values(other) if type(other) is type(self) else NotImplemented
        )
        made.__hash__ = lambda self: hash(values(self))
        for name in ("__setattr__", "__delattr__"):
            setattr(made, name, _refuse)
        made.__getstate__, made.__setstate__ = _get_state, _set_state
        if "__repr__" not in cls.__dict__:
            made.__repr__ = _repr
        return made

    def _init_for(made, fields):
        """Return an `__init__` that puts keyword arguments, or defaults, into the slots."""
        missing = dataclasses.MISSING
        slots = tuple((field.name, getattr(made, field.name).__set__, field.default) for field in fields)
        factories = tuple(
            (field.name, field.default_factory) for field in fields if field.default_factory is not missing
        )

        def init(self, **given):
            for name, factory in factories:
                if name not in given:
                    given[name] = factory()
            for name, put, default in slots:
                value = given.pop(name, default)
                if value is missing:
                    raise TypeError(f"{made.__qualname__}() is missing the keyword argument {name!r}")
                put(self, value)
            if given:
                names = ", ".join(map(repr, given))
                raise TypeError(f"{made.__qualname__}() got unexpected keyword arguments: {names}")

        return init

    def _values_for(names):
        """Return a function that gives the values of a record's fields as something to compare and hash."""
        return attrgetter(*names) if names else lambda _: ()

    def _refuse(self, name, *_):
        raise dataclasses.FrozenInstanceError(f"cannot change {type(self).__qualname__}.{name}")

    def _get_state(self):
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def _set_state(self, values):
        """Take what a copy or a pickle holds: a frozen record's slots are closed to everybody else."""
        for field, value in zip(dataclasses.fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    def _repr(self):
        shown = ", ".join(
            f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr
        )
        return f"{type(self).__qualname__}({shown})"
