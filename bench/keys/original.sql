SELECT * FROM idem_upsert('original', 'orders', '{"id": 0, "customer": "VINET", "status": "PENDING", "total": 440.00}');
