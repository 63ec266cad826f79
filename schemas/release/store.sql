-- The release store (SQLite), one file per audience. Made and filled by `cdrveil steward`; read by anybody
-- it is given to. Every value has passed the rules of release and is rounded (src/release.rs).

-- Every vintage of every released cell. A null sum is withheld if `withheld` names it, else the service has none.
CREATE TABLE traffic_hourly_vintages (
  hour TEXT NOT NULL,         -- start of the hour of the events, UTC: 2026-11-22T14:00:00Z
  vintage INTEGER NOT NULL,   -- from 1; a later one holds all records of the cell, earlier ones included
  service TEXT NOT NULL,      -- voice, sms, data
  direction TEXT NOT NULL,    -- MO, MT, transit, unknown
  a_country TEXT,             -- ISO 3166-1 alpha-2, or other-intl
  b_country TEXT,             -- null for data
  network TEXT,               -- serving network, MCC-MNC; home network where none was recorded
  currency TEXT,              -- ISO 4217, of the charge
  records INTEGER NOT NULL,
  answered INTEGER NOT NULL,
  seconds INTEGER,
  bytes INTEGER,
  charge REAL,                -- in units of the currency
  a_parties INTEGER NOT NULL, -- distinct subscribers
  b_parties INTEGER,
  withheld TEXT               -- names of the sums that are withheld
);

CREATE UNIQUE INDEX traffic_hourly_cell ON traffic_hourly_vintages (hour, service, direction,
  coalesce(a_country, ''), coalesce(b_country, ''), coalesce(network, ''), coalesce(currency, ''), vintage);

-- What is usually wanted: every cell once, in its latest vintage. Sums over this view count no record twice.
CREATE VIEW traffic_hourly AS
SELECT * FROM traffic_hourly_vintages AS cell
WHERE NOT EXISTS (
  SELECT 1 FROM traffic_hourly_vintages AS later
  WHERE later.hour = cell.hour AND later.service = cell.service AND later.direction = cell.direction
    AND coalesce(later.a_country, '') = coalesce(cell.a_country, '')
    AND coalesce(later.b_country, '') = coalesce(cell.b_country, '')
    AND coalesce(later.network, '') = coalesce(cell.network, '')
    AND coalesce(later.currency, '') = coalesce(cell.currency, '')
    AND later.vintage > cell.vintage
);

-- How much of an hour is shown, by vintage. Withheld are cells, or for dominance and partners sums of cells;
-- rounded to 5.
CREATE TABLE traffic_hourly_windows (
  hour TEXT NOT NULL,
  vintage INTEGER NOT NULL,
  cells INTEGER NOT NULL,
  withheld_few_a INTEGER NOT NULL,
  withheld_few_b INTEGER NOT NULL,
  withheld_inner_audience INTEGER NOT NULL,
  withheld_dominance INTEGER NOT NULL,
  withheld_partners INTEGER NOT NULL,
  PRIMARY KEY (hour, vintage)
);

-- Files of the lake table `release/traffic_hourly` that were taken over, each in one transaction with its rows.
CREATE TABLE release_files (file TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
