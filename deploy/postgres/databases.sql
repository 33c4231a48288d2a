-- Each service of the example has a database of its own. PostgreSQL's image runs
-- this once, when it makes its data folder.
CREATE DATABASE orders;
CREATE DATABASE stock;
CREATE DATABASE payments;
CREATE DATABASE shipping;
