CREATE DATABASE shop;
CREATE TABLE shop.customers (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(80) NOT NULL,
  city VARCHAR(40) CHARACTER SET latin1,
  born DATE,
  newsletter BIT(1) NOT NULL DEFAULT b'0',
  interests SET('books','music','garden','games') NOT NULL DEFAULT '',
  fingerprint BINARY(8) NOT NULL,
  joined TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) DEFAULT CHARSET = utf8mb4;
CREATE TABLE shop.products (
  sku CHAR(8) NOT NULL PRIMARY KEY,
  title VARCHAR(100) NOT NULL,
  price DECIMAL(10,2) NOT NULL,
  gross DECIMAL(12,4) GENERATED ALWAYS AS (price * 1.19) STORED,
  stock MEDIUMINT NOT NULL,
  weight DOUBLE,
  since YEAR,
  opens TIME,
  photo BLOB,
  details JSON
) DEFAULT CHARSET = utf8mb4;
CREATE TABLE shop.orders (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  customer BIGINT UNSIGNED NOT NULL,
  status ENUM('new','paid','shipped','returned') NOT NULL DEFAULT 'new',
  total DECIMAL(12,2) NOT NULL,
  note TEXT,
  placed DATETIME(6) NOT NULL,
  changed TIMESTAMP NULL
) DEFAULT CHARSET = utf8mb4;
CREATE TABLE shop.order_lines (
  order_id INT UNSIGNED NOT NULL,
  line TINYINT UNSIGNED NOT NULL,
  sku CHAR(8) NOT NULL,
  quantity SMALLINT NOT NULL,
  price DECIMAL(10,2) NOT NULL,
  PRIMARY KEY (order_id, line)
) DEFAULT CHARSET = utf8mb4;
