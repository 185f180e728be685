"""Tests of subjects made of subjects."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.mapping import SubjectMapping


class SubjectMappingTests(SynchronousTestCase):
    """As NATS's own mapping has it."""

    def test_mapped(self) -> None:
        """Each wildcard is what it matched, in any order, in both ways of writing it."""
        for source, target, subject, mapped in [
            ("mq.call", "mq.answer", "mq.call", "mq.answer"),
            ("mq.call", "mq.answer", "mq.call.x", None),
            ("mq.call", "mq.answer", "mqxcall", None),
            ("mq.*.call", "mq.$1.answer", "mq.a-b.call", "mq.a-b.answer"),
            ("mq.*.call", "mq.$1.answer", "mq.a.b.call", None),
            ("*.x.*", "y.$2.$1", "a.x.b", "y.b.a"),
            ("*.x.*", "y.{{wildcard(2)}}.{{ wildcard(1) }}", "a.x.b", "y.b.a"),
            ("mq.>", "answers", "mq.a.b", "answers"),
            ("mq.>", "answers", "mq", None),
            ("mq.*", "mq.answer.$1", "mq.$2", "mq.answer.$2"),
        ]:
            self.assertEqual(SubjectMapping(source, target).target_of(subject), mapped, (source, target, subject))

    def test_targets(self) -> None:
        """What can come of it is one pattern; it is shown as it is written."""
        mapping = SubjectMapping("mq.*.call", "mq.{{wildcard(1)}}.answer")
        self.assertEqual((mapping.targets, str(mapping)), ("mq.*.answer", "mq.*.call=mq.$1.answer"))

    def test_faults(self) -> None:
        """What could never be published to, or is not the operator's to give."""
        for source, target, says in [
            ("a b", "c", "'a b', which is not a subject"),
            ("", "c", "it is empty"),
            ("a", "", "it is empty"),
            ("a", "b..c", "a token is empty"),
            ("a", "b.*", "has wildcards"),
            ("a", "b.>", "has wildcards"),
            ("a.*", "b.$2", "there are 1 wildcards"),
            ("a", "b.$1", "there are 0 wildcards"),
            ("a.*", "b.$0", "there are 1 wildcards"),
            ("a", "$JS.API.x", "NATS's own"),
            ("a", "$x", "NATS's own"),
            ("a.*.*", "$1.$2", "can be one of _INBOX.>"),
            ("a", "_INBOX.x", "can be one of _INBOX.>"),
        ]:
            error = self.assertRaises(ValueError, SubjectMapping, source, target)
            self.assertIn(says, str(error), (source, target))
