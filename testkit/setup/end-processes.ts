import { afterAll } from 'vitest';
import { endProcesses } from '../processes/keyturn.ts';

afterAll(endProcesses);
