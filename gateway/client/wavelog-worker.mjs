/* wavelog-worker.js as a module: import { subscribe } from './wavelog-worker.mjs' */
import './wavelog-worker.js';

export const { subscribe } = globalThis.WavelogWorker;
