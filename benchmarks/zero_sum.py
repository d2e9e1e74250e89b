"""The law of zero: what it costs to keep it in each of the places where it could be kept."""

import statistics

import asyncpg

from benchmarks import floors, tips
from benchmarks.measure import Figure, Peak, Side, interleaved, ratio, served
from benchmarks.stage import Stage

BATCHES, ROUNDS = 20, 9

BY_ENTRY = """
CREATE FUNCTION {schema}.zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM {schema}.postings WHERE entry_id = NEW.{key}
              GROUP BY currency HAVING sum(minor) <> 0) THEN
    RAISE EXCEPTION 'not zero';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER zero AFTER INSERT ON {schema}.{table}
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.zero();
"""

BY_STATEMENT = """
CREATE FUNCTION {schema}.zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM written GROUP BY entry_id, currency HAVING sum(minor) <> 0) THEN
    RAISE EXCEPTION 'not zero';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER zero AFTER INSERT ON {schema}.postings
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION {schema}.zero();
"""

LAWS = {
    "none": ("unlawful", "SELECT"),
    "statement": ("by_statement", BY_STATEMENT.format(schema="by_statement")),
    "deferred on entries": (
        "by_entry",
        BY_ENTRY.format(schema="by_entry", table="entries", key="id"),
    ),
    "deferred per posting": (
        "by_posting",
        BY_ENTRY.format(schema="by_posting", table="postings", key="entry_id"),
    ),
}


async def candidates(stage: Stage) -> list[Figure]:
    """The floor's batches into plain tables, under each of the laws; ratio: to none."""
    for schema, law in LAWS.values():
        await stage.plain(schema)
        await stage.raw[0].execute(law)
    with Peak() as peak:
        found = await interleaved(
            ROUNDS, {name: raw(stage, schema) for name, (schema, _) in LAWS.items()}
        )
    return [
        Figure(
            f"zero sum: {name}",
            "commits/s",
            value=statistics.median(rates),
            floor=statistics.median(found["none"]),
            ratio=ratio(rates, found["none"]),
            peak_mb=peak.mb,
            note="batches of 100 × 4, one client; floor: no law",
        )
        for name, rates in found.items()
    ]


def raw(stage: Stage, schema: str) -> Side:
    """A side: batches into the plain tables of a schema."""
    books, sql = floors.Books(), floors.BATCH.format(schema=schema)

    async def write(connection: asyncpg.Connection, columns: list[object]) -> None:
        await connection.fetch(sql, *columns)

    async def side() -> float:
        made = [books.columns(tips.earned(100)) for _ in range(BATCHES)]
        return await served(stage.raw[:1], made, write)

    return side
