"""The workload of the benchmark: a fixed stream of statements on a table `orders`, printed for the mysql client.

usage: workload.py cdc|snap N
snap: a table `shop_snap.orders` of N rows that are in no binlog.
cdc: N row events: 65 % inserts (100 rows a transaction), 25 % updates (20 rows), 10 % deletes (10 rows), in cycles of
1300, 500 and 200. The same N gives the same statements.
"""
import random
import sys
from datetime import datetime, timedelta

TABLE = """CREATE TABLE {}.orders (
  id BIGINT NOT NULL PRIMARY KEY, customer VARCHAR(64) NOT NULL, amount DECIMAL(12,2) NOT NULL,
  created DATETIME(6) NOT NULL, updated TIMESTAMP NULL, attrs JSON,
  status ENUM('new','paid','shipped','cancelled','returned') NOT NULL,
  note TEXT, qty INT UNSIGNED NOT NULL, score DOUBLE, flag TINYINT NOT NULL, day DATE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""
STATUS = ["new", "paid", "shipped", "cancelled", "returned"]
WORDS = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua naïve Übergröße"
).split()
START = datetime(2026, 1, 1)

dice = random.Random(42)
NOTES = [" ".join(dice.choice(WORDS) for _ in range(dice.randint(6, 22))) for _ in range(4000)]
CUSTOMERS = [
    f"{dice.choice(WORDS[:15])}.{dice.choice(WORDS[:15])}{dice.randint(1, 99999)}@example-{dice.randint(1, 50)}.com"
    for _ in range(20000)
]


def row(key):
    created = START + timedelta(microseconds=key * 1731 * 1000 + int(dice.random() * 1e6))
    cents = int(dice.random() * 1e7)
    coupon = "null" if key % 4 else f'"C{cents % 5000}"'
    weight = dice.random() * 20
    attrs = (
        f'{{"src":"{("web", "app", "pos")[key % 3]}","items":[{cents % 977},{cents % 313},{cents % 71}],'
        f'"coupon":{coupon},"w":{weight:.3f}}}'
    )
    return (
        f"({key},'{CUSTOMERS[int(dice.random() * 20000)]}',{cents // 100}.{cents % 100:02d},"
        f"'{created.isoformat(' ', 'microseconds')}','{created.isoformat(' ', 'seconds')}','{attrs}',"
        f"'{STATUS[int(dice.random() * 3)]}','{NOTES[int(dice.random() * 4000)]}',{cents % 50},"
        f"{dice.random() * 1e4:.6f},{cents % 2},'{created.date()}')"
    )


def insert(low, high, database="shop", at_once=100):
    for first in range(low, high, at_once):
        rows = ",".join(row(key) for key in range(first, min(first + at_once, high)))
        print(f"INSERT INTO {database}.orders VALUES {rows};")


def snap(rows):
    print("SET sql_log_bin = 0; SET unique_checks = 0; SET time_zone = '+00:00'; CREATE DATABASE shop_snap;")
    print(f"{TABLE.format('shop_snap')};")
    insert(1, rows + 1, "shop_snap", 1000)


def cdc(events):
    print(f"SET time_zone = '+00:00'; CREATE DATABASE shop; {TABLE.format('shop')};")
    inserts, updates = int(events * 0.65), int(events * 0.25)
    deletes = events - inserts - updates
    updated = deleted = 0
    low = 1
    while low <= inserts:
        high = min(low + 1300, inserts + 1)
        insert(low, high)
        # Updates touch the cycle's rows from the 200th on, deletes those before: no row is missed.
        for n in range(0, min(500, updates - updated), 20):
            first = low + 200 + n * 2 % 1080
            when = (START + timedelta(seconds=high + n)).isoformat(" ", "seconds")
            print(
                f"UPDATE shop.orders SET status='paid', amount=amount+1.25, updated='{when}', score=score*1.01 "
                f"WHERE id BETWEEN {first} AND {first + 19};"
            )
            updated += 20
        for n in range(0, min(200, deletes - deleted), 10):
            print(f"DELETE FROM shop.orders WHERE id BETWEEN {low + n} AND {low + n + 9};")
            deleted += 10
        low = high


{"cdc": cdc, "snap": snap}[sys.argv[1]](int(sys.argv[2]))
