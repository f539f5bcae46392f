# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes one object of a module from nothing to nothing, and holds every answer to the clauses.

After each call the backends are dumped; what a call may have changed is the difference to the dump before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.lab.contract import documented
from tests.lab.contract.arguments import filled, occurrences, placed, value_at, without
from tests.lab.contract.record import Record, Shown
from tests.lab.contract.station import at
from tests.lab.contract.subject import Args, Change, Contract, Fault, Guard, Names, Refused, Trial

Answer = dict[str, Any]
# Names in dumps that say when, or how often, something was written, not what is there.
SILENT = ("mtime", "counter")
# Of every answer, beside the module's own object.
ALIKE = ("changed", "diff", "actions", "results")


class Stopped(Exception):
    """A call that everything after it builds on did not do what it should; the complaint is recorded."""


class Course:
    """One trial on its way."""

    def __init__(self, module: str, contract: Contract, trial: Trial, record: Record, returned: documented.Returned) -> None:
        self._module, self._contract, self._trial = module, contract, trial
        self._record, self._returned = record, returned
        self._names: Names = {}
        self._dump: dict[str, str] = {}
        # As it is when it was made without any change.
        self._made: dict[str, str] = {}
        self._unpredicted = list(trial.unpredicted)

    def run(self) -> None:
        broken: Exception | None = None
        with self._trial.prepare() as names:
            self._names = names
            try:
                before = self._look()
                (self._write if self._trial.absent is not None else self._only_read)()
                self._record.hold(
                    "foreign",
                    self._trial.name,
                    *differences(lasting(before, *SILENT), lasting(self._look(), *SILENT), self._trial.traces),
                )
            # Caught here, so that what was prepared goes away whatever happens.
            except Exception as error:
                self._abandon()
                broken = error
        if broken is not None and not isinstance(broken, Stopped):
            raise broken

    # The whole course of a module that writes, and of one that reads.

    def _write(self) -> None:
        trial, args = self._trial, self._trial.present
        nothing = self._dump
        real = self._step("create", args, (False, True))
        self._made = self._dump
        for option, shows in trial.others.items():
            self._shown(Change(option, value_at(args, option), shows=shows), nothing, real)
        for change in trial.changes:
            if not change.anew:
                args = self._change(args, change)
        for refused in trial.refused:
            self._refuse(args, refused)
        self._duplicates(args)
        for guard in trial.guards:
            self._guard(guard)
        self._gone("absent", self._absent)
        for name in dict.fromkeys(change.anew for change in trial.changes if change.anew):
            self._anew([change for change in trial.changes if change.anew == name])
        for fault in trial.faults:
            self._fault(fault)

    def _only_read(self) -> None:
        trial, args = self._trial, self._trial.present
        seen = self._read("read", args)
        for change in trial.changes:
            change.first(self._names)
            args = _changed(args, change)
            answer = self._read(change.option, args)
            self._record.hold("again", change.option, "" if answer != seen else "the answer is the same with and without it")
            self._show(change.option, f"{_told(change.value)}: another answer")
            seen = answer
        for refused in trial.refused:
            self._refuse(args, refused)
        self._duplicates(args)
        for fault in trial.faults:
            self._fault(fault)

    def _read(self, case: str, args: Args) -> Answer:
        predicted, real = self._call(case, args, check=True), self._call(case, args)
        self._record.hold("predicted", case, *unlike(self._pruned(predicted), self._pruned(real), [*predicted]))
        self._record.hold("again", case, "it says changed" if real.get("changed") else "")
        if real.get("failed"):
            self._stop("predicted", case, str(real.get("msg")))
        return self._pruned(real)

    # Steps.

    def _step(self, case: str, args: Args, again: tuple[bool, ...] = (False,)) -> Answer:
        """Check, run, run again; for a new object check again as well."""
        predicted = self._call(case, args, check=True)
        real = self._call(case, args)
        if predicted.get("failed") or real.get("failed"):
            self._stop("predicted", case, f"check: {predicted.get('msg')}; run: {real.get('msg')}")
        self._record.hold("predicted", case, *unlike(self._pruned(predicted), self._pruned(real), [*real]))
        self._record.hold("truth", case, "" if real["changed"] else "it says that it has not changed anything")
        self._still(case, args, real, again)
        return real

    def _still(self, case: str, args: Args, real: Answer, checks: tuple[bool, ...] = (False,)) -> None:
        for check in checks:
            self._record.hold("again", case, *self._idle(real, self._call(case, args, check=check)))

    def _idle(self, real: Answer, again: Answer) -> list[str]:
        """What is wrong with the answer to a call that has nothing to do; `real` is that of the one that did it."""
        calm: Answer = {"failed": None, "msg": None, "changed": False, "diff": {"before": {}, "after": {}}, "actions": []}
        wrong = [f"{key} is {again.get(key)!r}" for key, value in calm.items() if again.get(key) != value]
        objects = [key for key in real if key not in ALIKE]
        return [*wrong, *unlike(self._pruned(real), self._pruned(again), objects)]

    def _gone(self, case: str, args: Args) -> None:
        predicted = self._call(case, args, check=True)
        real = self._call(case, args)
        if predicted.get("failed") or real.get("failed"):
            self._stop("absent", case, f"check: {predicted.get('msg')}; run: {real.get('msg')}")
        self._record.hold("absent", case, *unlike(self._pruned(predicted), self._pruned(real), [*real]))
        self._record.hold("absent", case, "" if real["changed"] else "changed is false")
        for check in (False, True):
            self._record.hold("absent", f"{case} again", *self._idle(real, self._call(case, args, check=check)))

    def _change(self, args: Args, change: Change) -> Args:
        self._first(change.first)
        args, before = _changed(args, change), self._dump
        real = self._step(change.option, args)
        self._shown(change, before, real)
        return args

    def _anew(self, changes: Sequence[Change]) -> None:
        args = self._trial.present
        for change in changes:
            self._first(change.first)
            args = _changed(args, change)
        real = self._step(", ".join(change.option for change in changes), args)
        for change in changes:
            if not change.shows:
                self._record.hold("truth", change.option, "nothing tells its effect from that of the others")
            self._shown(change, self._made, real)
        self._plain("absent", self._absent)

    def _refuse(self, args: Args, refused: Refused) -> None:
        wanted = _changed(filled(args, self._names), refused)
        case = f"{refused.option} {_told(refused.value)}"
        clause = "fixed" if documented.canonical(refused.option) in documented.valued(self._module) else "items"
        for check in (False,) if refused.unforeseen else (True, False):
            answer = self._call(case, wanted, check=check)
            named = refused.names or documented.canonical(refused.option).rpartition(".")[2].removesuffix("[]")
            self._record.hold(clause, case, *refusal(answer, refused.code, named, self._count(wanted, refused.option)))
        if clause == "fixed":
            self._show(refused.option, f"{_told(refused.value)}: refused, `{refused.code}`; {refused.why}")
        else:
            later = f"; not by check mode: {refused.unforeseen}" if refused.unforeseen else ""
            self._record.stories.append((f"`{refused.option}` {refused.why}", f"refused, `{refused.code}`{later}"))

    def _duplicates(self, args: Args) -> None:
        for change in self._trial.changes:
            if change.anew and isinstance(change.value, list):
                args = placed(args, change.option, change.value)
        for path in sorted(documented.lists(self._module)):
            if path in self._trial.repeatable or path in self._record.repeated:
                continue
            # An option that was taken away on the way is in the first call.
            for place, entries, source in self._given(path, args, self._trial.present)[:1]:
                answer = self._call(place, placed(source, place, [entries[0], entries[0], *entries[2:]]))
                self._record.repeated.add(path)
                self._record.hold("duplicates", place, *refusal(answer, "duplicate", f"{place.rpartition('.')[2]}[1]", None))

    @staticmethod
    def _given(path: str, *calls: Args) -> list[tuple[str, list[Any], Args]]:
        """Where calls give a list, and what is in it."""
        return [(place, list(value_at(call, place)), call) for call in calls for place in occurrences(call, path)]

    def _guard(self, guard: Guard) -> None:
        self._first(guard.first)
        for check in (True, False):
            answer = self._call(guard.why, self._absent if guard.absent is None else guard.absent, check=check)
            self._record.hold("kept", guard.why, *refusal(answer, guard.code, "", None))
        self._first(guard.after)
        self._record.stories.append((f"absent while {guard.why}", f"refused, `{guard.code}`"))

    def _fault(self, fault: Fault) -> None:
        args = self._trial.present if fault.present is None else fault.present
        self._first(fault.first)
        try:
            foretold = self._call(fault.why, args, check=True)
            answer = self._call(fault.why, args)
        finally:
            self._first(fault.after)
        self._record.hold("failure", fault.why, *failure(answer, fault))
        self._record.hold("predicted", fault.why, *foretelling(self._pruned(foretold), self._pruned(answer), fault))
        told = f"`{fault.code}`, {'`changed`' if fault.changed else 'not `changed`'}{'; run again: done' if fault.settle else ''}"
        self._record.stories.append((fault.why, f"{told}; not by check mode: {fault.unforeseen}" if fault.unforeseen else told))
        if fault.settle:
            real = self._plain(f"{fault.why}, mended", args)
            late = [
                result["name"] for result in real["results"] if fault.changed and result["changed"] and result["name"] not in fault.failed
            ]
            self._record.hold("failure", f"{fault.why}, mended", f"said to be done, and done only now: {late}" if late else "")
            self._still(f"{fault.why}, mended", args, real)
        self._first(fault.end)
        absent = self._absent if fault.absent is None else fault.absent
        if self._trial.absent is not None:
            self._plain(f"{fault.why}, absent", absent)

    # Calls.

    def _call(self, case: str, args: Args, check: bool = False) -> Answer:
        module, before = self._module, self._dump
        full = {**filled(args, self._names), "_ansible_check_mode": check, "_ansible_diff": True}
        status, said = at(self._trial.host or self._contract.host, self._trial.user or self._contract.user).call(module, full)
        case = f"{self._trial.name}, {case}, {'check' if check else 'run'}"
        try:
            answer: Answer = json.loads(said)
        except ValueError:
            self._stop("quiet", case, f"exit {status}, not one JSON object but {said[-1500:]}")
        noise = [f"{key}: {answer.pop(key)}" for key in ("warnings", "deprecations", "exception") if key in answer]
        self._record.hold("quiet", case, *noise)
        answer.pop("invocation", None)
        self._record.hold("returned", case, *self._returned.problems(answer))
        after = self._look()
        changes = differences(before, after)
        if check:
            self._record.hold("untouched", case, *changes)
        elif bool(answer.get("changed")) is not bool(differences(lasting(before), lasting(after))):
            self._record.hold("truth", case, f"changed is {answer.get('changed')}, and the backend: {changes[:4] or 'is as it was'}")
        else:
            # What says it changed nothing has not even written the same again.
            self._record.hold("truth", case, *([] if answer.get("changed") else changes))
        return answer

    def _abandon(self) -> None:
        """What a stopped trial has made goes away as far as it can, so that the next finds the lab as it was."""
        ends = [self._trial.absent, *(fault.absent for fault in self._trial.faults)]
        for args in [filled(end, self._names) for end in ends if end is not None]:
            at(self._trial.host or self._contract.host, self._trial.user or self._contract.user).call(self._module, args)

    def _plain(self, case: str, args: Args) -> Answer:
        """A call that is only the way to the next one."""
        answer = self._call(case, args)
        if answer.get("failed"):
            self._stop("failure", case, str(answer.get("msg")))
        return answer

    def _first(self, step: Callable[[Names], None]) -> None:
        step(self._names)
        self._look()

    def _look(self) -> dict[str, str]:
        """Dump all backends that the module may write."""

        def dumped(entry: tuple[str, tuple[str, ...]]) -> dict[str, str]:
            host, names = entry
            answer = at(host, "").dump(names)
            return {f"{host} {name}": content for dump in answer.values() for name, content in dump.items()}

        dumps = self._contract.looked_at(self._trial).items()
        with ThreadPoolExecutor(len(dumps)) as pool:
            self._dump = {name: content for part in pool.map(dumped, dumps) for name, content in part.items()}
        return self._dump

    def _shown(self, change: Change, before: dict[str, str], real: Answer) -> None:
        verbs = ", ".join(dict.fromkeys(str(action["verb"]) for action in real["actions"]))
        self._show(change.option, f"{_told(change.value)}: {verbs}{' when made anew' if change.anew else ''}")
        if change.shows:
            shown = [line[0] for line in differences(before, self._dump) if change.shows in line]
            self._record.hold(
                "truth", change.option, "" if set(shown) == {"+"} else f"that it is {change.shows} now is not seen in the backend"
            )

    def _show(self, option: str, how: str) -> None:
        self._record.options.append(Shown(documented.canonical(option), how, self._trial.name))

    def _count(self, args: Args, option: str) -> int | None:
        items = value_at(args, option.rpartition("[")[0]) if option.endswith("]") and "." not in option else None
        return len(items) if isinstance(items, list) else None

    def _pruned(self, answer: Answer) -> Answer:
        pruned: Answer = without(answer, self._unpredicted)
        return pruned

    @property
    def _absent(self) -> Args:
        return self._trial.absent or {}

    def _stop(self, clause: str, case: str, complaint: str) -> Any:
        self._record.hold(clause, case, complaint)
        raise Stopped


def refusal(answer: Answer, code: str, named: str, items: int | None) -> list[str]:
    """What is wrong with the refusal of a whole call."""
    if not answer.get("failed"):
        return ["it was accepted"]
    results = answer.get("results") or []
    refused = [result for result in results if result["error_code"]]
    wrong = []
    if answer.get("changed") or any(result["changed"] for result in results):
        wrong.append("it changed something")
    if answer.get("error_code") != code:
        wrong.append(f"error_code is {answer.get('error_code')}: {answer['msg']}")
    if named not in answer["msg"] or "Remedy:" not in answer["msg"]:
        wrong.append(f"it does not say {named!r} with a remedy: {answer['msg']}")
    if {result["error_code"] for result in refused} != {code} or (items is not None and len(refused) != 1):
        wrong.append(f"results: {results}")
    if items is not None and len(results) not in (1, items):
        wrong.append(f"{len(results)} results for {items} items")
    return wrong


def foretelling(foretold: Answer, real: Answer, fault: Fault) -> list[str]:
    """What is wrong with check mode's word on a call that fails: where it can know, it says so as the run does."""
    if not fault.unforeseen:
        return unlike(foretold, real, [*real])
    return [f"check mode knew: {foretold.get('msg')}"] if foretold.get("failed") else []


def failure(answer: Answer, fault: Fault) -> list[str]:
    """What is wrong with the answer to a call that broke on the way."""
    if not answer.get("failed"):
        return ["it succeeded"]
    results = {result["name"]: result for result in answer["results"]}
    wrong = []
    if answer["changed"] is not fault.changed or answer.get("error_code") != fault.code:
        wrong.append(f"changed {answer['changed']}, {answer.get('error_code')}: {answer['msg']}")
    if {name for name, result in results.items() if result["error_code"]} != set(fault.failed):
        wrong.append(f"failed are not {fault.failed}: {results}")
    wrong += [
        f"{name}: changed is {not fault.changed}"
        for name, result in results.items()
        if name not in fault.failed and result["changed"] is not fault.changed
    ]
    return wrong


def unlike(one: Any, other: Any, keys: Sequence[str]) -> list[str]:
    """Where two answers differ, leaf by leaf."""
    return [line for key in keys for line in _unlike(one.get(key), other.get(key), key)]


def _unlike(one: Any, other: Any, place: str) -> list[str]:
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        return [line for key in sorted({*one, *other}) for line in _unlike(one.get(key), other.get(key), f"{place}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for number, pair in enumerate(zip(one, other)) for line in _unlike(*pair, f"{place}.{number}")]
    return [f"{place} is {one!r} and then {other!r}"]


def differences(before: Mapping[str, str], after: Mapping[str, str], traces: str = "") -> list[str]:
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    found = []
    for name in names:
        if traces and re.search(traces, name):
            continue
        found += [f"- {name}: {before[name]}"] if name in before else []
        found += [f"+ {name}: {after[name]}"] if name in after else []
    return found


def lasting(dump: Mapping[str, str], *silent: str) -> dict[str, str]:
    """Without the names that begin, behind the host, with one of these words: by default the times at which files were written."""
    return {name: content for name, content in dump.items() if name.split(" ")[1] not in (silent or SILENT[:1])}


def _changed(args: Args, change: Change | Refused) -> Args:
    for path, value in {change.option: change.value, **change.also}.items():
        args = placed(args, path, value)
    return args


def _told(value: Any) -> str:
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`"
